//! Tables that fit a terminal: the longest cells are cut, never what a row is named by.

/// What stands between two columns.
const GAP: usize = 2;
/// No column is cut shorter than this, or than its header.
const LEAST: usize = 8;

/// Cuts cells so that no line is longer than the terminal, if it can be done; says whether any was cut. The first column,
/// which names its row, stays whole.
pub(crate) fn fit(header: &[&str], rows: &mut [Vec<String>], width: usize) -> bool {
    let length = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = header.iter().map(|name| length(name)).collect();
    let least: Vec<usize> = widths.iter().map(|own| (*own).max(LEAST)).collect();
    for row in rows.iter() {
        for (own, cell) in widths.iter_mut().zip(row) {
            *own = (*own).max(length(cell));
        }
    }
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let room = widths.iter_mut().zip(&least).skip(1).filter(|(own, least)| **own > **least);
        let Some((widest, _)) = room.max_by_key(|(own, _)| **own) else { break };
        *widest -= 1;
    }
    let mut cut = false;
    for row in rows {
        for (cell, own) in row.iter_mut().zip(&widths).skip(1) {
            if length(cell) > *own {
                *cell = cell.chars().take(own.saturating_sub(1)).chain(['…']).collect();
                cut = true;
            }
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn the_longest_cells_are_cut_and_never_the_name() {
        let mut rows = [row(&["a-name-that-is-long", "read", "s3://lake/a/long/directory/of/it/", "in 3h"])];
        assert!(fit(&["NAME", "ACCESS", "OPENS", "UNTIL"], &mut rows, 60));
        assert_eq!(rows[0][0], "a-name-that-is-long");
        assert_eq!(rows[0][2], "s3://lake/a/long/direct…");
    }

    #[test]
    fn what_fits_stays_and_what_cannot_fit_is_cut_to_what_can_be_read() {
        let mut rows = [row(&["a", "b"])];
        assert!(!fit(&["NAME", "OPENS"], &mut rows, 80));
        let mut rows = [row(&["name", "0123456789abc", "é0123456789abc"])];
        assert!(fit(&["NAME", "ONE", "TWO"], &mut rows, 3));
        assert_eq!(rows[0], ["name", "0123456…", "é012345…"]);
    }
}
