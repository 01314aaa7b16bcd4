import { defineConfig } from "vite";

// What is built is checked in, and a test finds it unchanged: nothing here may depend on the time, the machine or the path.
export default defineConfig({
    base: "/console/",
    oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
    // Small files stay files: `data:` is not allowed by the policy the pages are served with.
    build: { target: "es2022", assetsInlineLimit: 0, modulePreload: false, sourcemap: false },
});
