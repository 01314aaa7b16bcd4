// One chart and its twin, a table with the same figures.
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";

export interface Series {
    label: string;
    values: number[];
}

const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const DARK = matchMedia("(prefers-color-scheme: dark)");

/** Whether it is dark, by the system's word. */
function useScheme(): boolean {
    const [dark, set] = useState(DARK.matches);
    useEffect(() => {
        const changed = () => set(DARK.matches);
        DARK.addEventListener("change", changed);
        return () => DARK.removeEventListener("change", changed);
    }, []);
    return dark;
}

export function Plot({ caption, times, shown, series }: { caption: string; times: number[]; shown: (time: number) => string; series: Series[] }) {
    const box = useRef<HTMLDivElement>(null);
    const drawn = useRef<uPlot | undefined>(undefined);
    const scheme = useScheme();
    const figures: uPlot.AlignedData = [times, ...series.map((one) => one.values)];
    const shape = JSON.stringify([series.map((one) => one.label), times.length < 60, times.length > 0, scheme]);
    useEffect(() => {
        const at = box.current;
        if (!at || times.length === 0) return;
        const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
        const plot = new uPlot(
            {
                width: at.clientWidth,
                height: 200,
                legend: { show: false },
                cursor: { show: false },
                tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
                scales: { y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
                axes: [axis, axis],
                series: [{}, ...series.map((one, index) => ({ label: one.label, stroke: colour(`--plot-${index}`), width: 2, points: { show: times.length < 60 } }))],
            },
            figures,
            at,
        );
        drawn.current = plot;
        const watch = new ResizeObserver(() => plot.setSize({ width: at.clientWidth, height: 200 }));
        watch.observe(at);
        return () => {
            watch.disconnect();
            plot.destroy();
            drawn.current = undefined;
        };
    }, [shape]);
    // It is drawn anew only where it looks otherwise; else it is given its figures.
    const told = JSON.stringify(figures);
    useEffect(() => drawn.current?.setData(figures), [told]);
    return (
        <figure>
            <figcaption>
                {caption}{" "}
                {series.map((one, index) => (
                    <span class={`key plot-${index}`}>{one.label}</span>
                ))}
            </figcaption>
            <div ref={box} class="plot" aria-hidden="true" />
            <details>
                <summary>As a table</summary>
                <table>
                    <caption>{caption}</caption>
                    <thead>
                        <tr>
                            <th scope="col">When (UTC)</th>
                            {series.map((one) => (
                                <th scope="col">{one.label}</th>
                            ))}
                        </tr>
                    </thead>
                    <tbody>
                        {times.map((time, index) => (
                            <tr>
                                <th scope="row">{shown(time)}</th>
                                {series.map((one) => (
                                    <td>{one.values[index]}</td>
                                ))}
                            </tr>
                        ))}
                    </tbody>
                </table>
            </details>
        </figure>
    );
}
