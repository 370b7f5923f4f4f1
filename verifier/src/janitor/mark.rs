//! The tag by which an engine remembers that an image is a participant's.

use domain::ImageRef;

/// The beginning of every such tag.
const PREFIX: &str = "muster-";
/// The number of digits of the image's id in the tag, which make the tag unique.
const DIGITS: usize = 16;

/// Returns the tag for the image of this id, or `None` if this is no id.
pub(super) fn tag(id: &str) -> Option<String> {
    let digits = id.strip_prefix("sha256:")?.get(..DIGITS)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| format!("{PREFIX}{digits}"))
}

/// Returns true if the image has this tag and no other one.
pub(super) fn is_marked(id: &str, names: &[String]) -> bool {
    let is_mark = |name: &String| {
        let (_, found) = name.rsplit_once(':').unwrap_or_default();
        tag(id).is_some_and(|tag| tag == found)
    };
    !names.is_empty() && names.iter().all(is_mark)
}

/// Returns the names of an image except its first one. Each is parsed and printed again, because it becomes
/// part of a path.
pub(super) fn of_other_repositories(names: &[String]) -> Vec<String> {
    names
        .iter()
        .skip(1)
        .filter_map(|name| name.parse::<ImageRef>().ok())
        .map(|name| name.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_marked_if_all_its_tags_are_the_mark() {
        let id = format!("sha256:{}", "0a1b".repeat(16));
        let ours = "r.lan:5000/ada/app:muster-0a1b0a1b0a1b0a1b".to_owned();
        assert_eq!(tag(&id).as_deref(), Some("muster-0a1b0a1b0a1b0a1b"));
        assert!(is_marked(&id, std::slice::from_ref(&ours)));
        for others in [
            vec![],
            vec![ours.clone(), "ada/app:latest".into()],
            vec!["<none>:<none>".into()],
            vec!["ada/app:muster-ffffffffffffffff".into()],
        ] {
            assert!(!is_marked(&id, &others), "{others:?}");
        }
        assert_eq!(tag("sha256:../../containers"), None);
        assert_eq!(of_other_repositories(&[ours.clone(), ours.clone(), "../x".into()]), [ours]);
    }
}
