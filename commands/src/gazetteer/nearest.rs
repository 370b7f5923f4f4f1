//! Finds the names most similar to an unknown name, by edit distance, in which two exchanged letters are one edit. Few people mistype the first letter, so the names with
//! that letter are compared in full, and of the others those that differ in the first letter alone.

use super::table::{SortedTable, after_prefix, first_column};

/// The largest edit distance that is looked for. Short names have a smaller one.
const DISTANCE_MAX: usize = 2;
/// The longest text that is compared, in characters.
const CHARS_MAX: usize = 60;
/// The smallest number of characters at the beginning of a name in which people make one mistake at most. In a long name it is
/// the first half.
const SURE_CHARS_MIN: usize = 3;
/// Any distance above [`DISTANCE_MAX`].
const FAR: u8 = DISTANCE_MAX as u8 + 1;

/// The part of one row of the Levenshtein matrix that can hold distances up to [`DISTANCE_MAX`]: the columns at most that
/// far from the diagonal.
type MatrixBand = [u8; 2 * DISTANCE_MAX + 1];

/// Returns the rows of `names` whose key is within a few edits of `typed`, each with its distance. The number of edits
/// depends on the length.
///
/// Passes once over the rows with the first letter of `typed`. Neighbouring rows share prefixes, so the bands of a shared prefix are computed once, and
/// rows with a prefix that is already too far away are skipped.
pub(super) fn nearest(names: &SortedTable, typed: &str) -> Vec<(u8, &'static str)> {
    let mut found = with_another_first_letter(names, typed);
    let typed: Vec<char> = typed.chars().take(CHARS_MAX + 1).collect();
    let Some(first) = typed.first() else { return found };
    let distance_max = match typed.len() {
        2 | 3 => 1,
        // A Chinese or Korean character is a syllable at least.
        4..=CHARS_MAX if *first >= '\u{2E80}' => 1,
        4 | 5 => 1,
        6..=CHARS_MAX => DISTANCE_MAX as u8,
        _ => return found,
    };
    let sure_chars = (typed.len() / 2).max(SURE_CHARS_MIN);
    let is_too_far = |band: &MatrixBand, depth: usize| {
        let max = if depth <= sure_chars { distance_max.min(1) } else { distance_max };
        band.iter().all(|distance| *distance > max)
    };
    // The prefix of the last key that was compared, and its bands: that of the empty prefix, then one for each character.
    let mut prefix: Vec<char> = Vec::new();
    let mut bands = vec![first_band(typed.len())];
    let mut rows = names.from(&first.to_string());
    while rows.starts_with(*first) {
        let (row, after) = rows.split_once('\n').unwrap_or((rows, ""));
        let key = first_column(row).0;
        let mut rest = key.chars();
        let shared = prefix.iter().zip(key.chars()).take_while(|(a, b)| **a == *b).count();
        prefix.truncate(shared);
        bands.truncate(shared + 1);
        rest.by_ref().take(shared).for_each(drop);
        let mut band = bands[shared];
        while !is_too_far(&band, prefix.len()) {
            let Some(char) = rest.next() else {
                let distance = final_distance(&band, prefix.len(), typed.len());
                if distance <= distance_max {
                    found.push((distance, row));
                }
                break;
            };
            let before = prefix.len().checked_sub(1).map(|at| (&bands[at], prefix[at]));
            band = next_band(&band, before, prefix.len(), &typed, char);
            prefix.push(char);
            bands.push(band);
        }
        // Rows with a prefix that is too far away are all too far away.
        rows = if is_too_far(&band, prefix.len()) {
            after_prefix(rows, &key[..key.len() - rest.as_str().len()])
        } else {
            after
        };
    }
    found
}

/// Returns the rows whose key is `typed` with the first letter left out, replaced, added, or exchanged with the second.
fn with_another_first_letter(names: &SortedTable, typed: &str) -> Vec<(u8, &'static str)> {
    let mut chars = typed.chars();
    let Some((first, second)) = chars.next().zip(chars.next()) else { return Vec::new() };
    let (after, rest) = (&typed[first.len_utf8()..], chars.as_str());
    let letters = || 'a'..='z';
    let replaced = letters().filter(|letter| *letter != first).map(|letter| format!("{letter}{after}"));
    let added = letters().map(|letter| format!("{letter}{typed}"));
    let others = [after.to_owned(), format!("{second}{first}{rest}")];
    let keys = others.into_iter().chain(replaced).chain(added);
    // A key with the first letter of `typed` is found among the others.
    keys.filter(|key| !key.starts_with(first)).filter_map(|key| Some((1, names.row(&key)?))).collect()
}

/// Returns the band of the empty prefix: the distance is the number of characters of `typed` up to the column.
fn first_band(typed: usize) -> MatrixBand {
    std::array::from_fn(|at| match at.checked_sub(DISTANCE_MAX) {
        Some(column) if column <= typed => column as u8,
        _ => FAR,
    })
}

/// Returns the band of the prefix that has one character more, `char`, than the `depth` characters of `last`. `before` is the band
/// before `last`, and the character between the two.
fn next_band(
    last: &MatrixBand,
    before: Option<(&MatrixBand, char)>,
    depth: usize,
    typed: &[char],
    char: char,
) -> MatrixBand {
    let mut next = [FAR; 2 * DISTANCE_MAX + 1];
    for at in 0..next.len() {
        let Some(column) = (depth + 1 + at).checked_sub(DISTANCE_MAX).filter(|column| *column <= typed.len())
        else {
            continue;
        };
        // The band of the row before starts one column earlier.
        let added = last.get(at + 1).map_or(FAR, |distance| distance + 1);
        let left_out = at.checked_sub(1).map_or(FAR, |before| next[before] + 1);
        let replaced = column.checked_sub(1).map_or(FAR, |before| last[at] + u8::from(typed[before] != char));
        let exchanged = match (before, column.checked_sub(2)) {
            (Some((band, previous)), Some(first)) if typed[first] == char && typed[first + 1] == previous => {
                band[at] + 1
            }
            _ => FAR,
        };
        next[at] = added.min(left_out).min(replaced).min(exchanged).min(FAR);
    }
    next
}

/// Returns the distance of a complete key of `depth` characters from the whole of `typed`.
fn final_distance(band: &MatrixBand, depth: usize, typed: usize) -> u8 {
    (typed + DISTANCE_MAX).checked_sub(depth).and_then(|at| band.get(at)).copied().unwrap_or(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_is_the_number_of_edits() {
        static NAMES: SortedTable =
            SortedTable::new("aris\t\npariis\t\nparis\t\nparisian\t\npraha\t\npris\t\nvaris\t\n");
        let found: Vec<(u8, &str)> = nearest(&NAMES, "paris")
            .into_iter()
            .map(|(distance, row)| (distance, first_column(row).0))
            .collect();
        assert_eq!(found, [(1, "aris"), (1, "varis"), (1, "pariis"), (0, "paris"), (1, "pris")]);
        let distance =
            |typed| nearest(&NAMES, typed).into_iter().find(|(_, row)| row.starts_with("parisian"));
        assert_eq!(distance("parisians").map(|found| found.0), Some(1));
        assert_eq!(distance("arisian").map(|found| found.0), Some(1));
        assert_eq!(distance("perisixn").map(|found| found.0), Some(2));
        assert_eq!(distance("perixixn").map(|found| found.0), None);
        assert_eq!(nearest(&NAMES, "pairs"), [(1, "paris\t")], "two letters are exchanged");
        assert!(nearest(&NAMES, "p").is_empty());
    }
}
