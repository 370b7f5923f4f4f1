//! The names nearest to one that nobody knows, by edit distance.

use super::table::{Table, first_column};

/// The most edits looked for; short names get fewer.
const REACH: usize = 3;
/// Longer texts resemble no name.
const LONGEST: usize = 60;
/// More than `REACH`, however far.
const FAR: u8 = REACH as u8 + 1;

/// The band of one row of Levenshtein's matrix that can hold distances within `REACH`: the columns from `REACH` before the diagonal to
/// `REACH` behind it.
type Band = [u8; 2 * REACH + 1];

/// The rows of `names` whose key is within a few edits of `typed`, each with its distance; how many edits depends on the length.
///
/// One pass over the table: neighbours in it share their beginnings, so the bands of a shared beginning are computed once, and a beginning
/// that is already too far away is passed over.
pub(super) fn nearest(names: &Table, typed: &str) -> Vec<(u8, &'static str)> {
    let typed: Vec<char> = typed.chars().take(LONGEST + 1).collect();
    let reach = match typed.len() {
        2 | 3 => 1,
        4..=7 => 2,
        8..=LONGEST => REACH as u8,
        _ => return Vec::new(),
    };
    let is_too_far = |band: &Band| band.iter().all(|distance| *distance > reach);
    let mut found = Vec::new();
    // The beginning of the last key compared, and the bands: the empty beginning's, then one for each character.
    let mut begun: Vec<char> = Vec::new();
    let mut bands = vec![first_band(typed.len())];
    // The beginning that was last found too far away.
    let mut passed_over = "\t";
    for row in names.rows() {
        let key = first_column(row).0;
        if row.starts_with(passed_over) || key.len() + usize::from(reach) < typed.len() {
            continue;
        }
        let mut rest = key.chars();
        let shared = begun.iter().zip(key.chars()).take_while(|(a, b)| **a == *b).count();
        begun.truncate(shared);
        bands.truncate(shared + 1);
        rest.by_ref().take(shared).for_each(drop);
        let mut band = bands[shared];
        while !is_too_far(&band) {
            let Some(char) = rest.next() else {
                let distance = at_end(&band, begun.len(), typed.len());
                if distance <= reach {
                    found.push((distance, row));
                }
                break;
            };
            band = next_band(&band, begun.len(), &typed, char);
            begun.push(char);
            bands.push(band);
        }
        if is_too_far(&band) {
            passed_over = &key[..key.len() - rest.as_str().len()];
        }
    }
    found
}

/// The band of the empty key: as many edits as `typed` has characters up to the column.
fn first_band(typed: usize) -> Band {
    std::array::from_fn(|at| match at.checked_sub(REACH) {
        Some(column) if column <= typed => column as u8,
        _ => FAR,
    })
}

/// The band that follows the one of `depth` characters when the key goes on with `char`.
fn next_band(last: &Band, depth: usize, typed: &[char], char: char) -> Band {
    let mut next = [FAR; 2 * REACH + 1];
    for at in 0..next.len() {
        let Some(column) = (depth + 1 + at).checked_sub(REACH).filter(|column| *column <= typed.len()) else {
            continue;
        };
        // The same column of the row before lies one to the right in its band.
        let added = last.get(at + 1).map_or(FAR, |distance| distance + 1);
        let left_out = at.checked_sub(1).map_or(FAR, |before| next[before] + 1);
        let replaced = column.checked_sub(1).map_or(FAR, |before| last[at] + u8::from(typed[before] != char));
        next[at] = added.min(left_out).min(replaced).min(FAR);
    }
    next
}

/// The distance of a key of `depth` characters from the whole of `typed`.
fn at_end(band: &Band, depth: usize, typed: usize) -> u8 {
    (typed + REACH).checked_sub(depth).and_then(|at| band.get(at)).copied().unwrap_or(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_is_the_number_of_edits() {
        static NAMES: Table = Table::new("aris\t\npariis\t\nparis\t\nparisian\t\npraha\t\npris\t\nvaris\t\n");
        let found: Vec<(u8, &str)> = nearest(&NAMES, "paris")
            .into_iter()
            .map(|(distance, row)| (distance, first_column(row).0))
            .collect();
        assert_eq!(found, [(1, "aris"), (1, "pariis"), (0, "paris"), (1, "pris"), (1, "varis")]);
        let distance =
            |typed| nearest(&NAMES, typed).into_iter().find(|(_, row)| row.starts_with("parisian"));
        assert_eq!(distance("parisians").map(|found| found.0), Some(1));
        assert_eq!(distance("arixxan").map(|found| found.0), None);
        assert_eq!(distance("arisixxn").map(|found| found.0), Some(3));
        assert!(nearest(&NAMES, "p").is_empty());
    }
}
