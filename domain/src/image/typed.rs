//! The name that a pasted text means. People paste the command that they know, the address in their browser, or a line of
//! a file. If the text means one name, it is taken for that name; otherwise the error gives the name to write.

use super::{DEFAULT_REGISTRY, ImageRef, ImageRefError, parse_name};
use crate::text::trimmed;

const ONLY_NAME: &str = "it is a command; give the image's name only";

/// The longest text that is read, in bytes.
const TYPED_BYTES_MAX: usize = 2000;

/// Names by which the registry of Docker Hub is reached.
const HUB_REGISTRIES: [&str; 4] =
    ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// Hosts of Docker Hub's pages, now and earlier.
const HUB_PAGES: [&str; 4] = ["hub.docker.com", "www.hub.docker.com", "cloud.docker.com", "store.docker.com"];

/// Host of Docker Hub's registry that also answers for its pages.
const HUB_API: &str = "registry.hub.docker.com";

/// Registries whose names are often pasted with `https://` in front.
const KNOWN_REGISTRIES: [&str; 5] =
    ["ghcr.io", "quay.io", "gcr.io", "registry.gitlab.com", "mcr.microsoft.com"];

/// The flags of `docker run`, `create`, `pull` and `push` that take no value.
const FLAGS: [&str; 15] = [
    "--all-tags",
    "--detach",
    "--disable-content-trust",
    "--init",
    "--interactive",
    "--no-healthcheck",
    "--oom-kill-disable",
    "--privileged",
    "--publish-all",
    "--quiet",
    "--read-only",
    "--rm",
    "--sig-proxy",
    "--tty",
    "--use-api-socket",
];

/// The long flags of the same commands, of Docker and of Podman, that take a value, without their dashes.
const VALUE_FLAGS: &str = "add-host annotation arch attach authfile blkio-weight blkio-weight-device cap-add cap-drop cert-dir \
    cgroup-parent cgroupns cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares \
    cpus cpuset-cpus cpuset-mems creds detach-keys device device-cgroup-rule device-read-bps device-read-iops \
    device-write-bps device-write-iops dns dns-opt dns-option dns-search domainname entrypoint env env-file expose gpus \
    group-add health-cmd health-interval health-retries health-start-interval health-start-period health-timeout hostname \
    io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory label label-file link link-local-ip log-driver log-opt \
    mac-address memory memory-reservation memory-swap memory-swappiness mount name net net-alias network network-alias \
    oom-score-adj os pid pids-limit platform pod publish pull restart runtime secret security-opt shm-size stop-signal \
    stop-timeout storage-opt sysctl tmpfs ulimit user userns uts variant volume volume-driver volumes-from workdir";

/// The flags without a value in short.
const SHORT_FLAGS: &str = "aditPq";

/// Reads the name in a text.
pub(super) fn read(text: &str) -> Result<ImageRef, ImageRefError> {
    if text.len() > TYPED_BYTES_MAX {
        return Err(ImageRefError::new("it is too long"));
    }
    let text = unquoted(text);
    let words: Vec<&str> = text.split_whitespace().filter(|word| *word != "\\").collect();
    match words[..] {
        [] => Err(ImageRefError::new("it is empty")),
        [word] => read_word(word),
        _ => read_line(&words),
    }
}

/// Returns the usual name of a registry: in lower case, and `docker.io` for each name of Docker Hub's.
pub(crate) fn usual_registry(typed: &str) -> String {
    let lower = typed.to_ascii_lowercase();
    let host = lower.strip_suffix(":443").unwrap_or(&lower);
    if HUB_REGISTRIES.contains(&host) { DEFAULT_REGISTRY.to_owned() } else { lower }
}

fn read_word(word: &str) -> Result<ImageRef, ImageRefError> {
    if let Some((scheme, rest)) = word.split_once("://") {
        return match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => read_address(rest),
            "docker" | "docker-image" => read_word(rest),
            _ => Err(unsure("it is an address of another kind", rest)),
        };
    }
    let host = word.split('/').next().unwrap_or_default().to_ascii_lowercase();
    let is_api = host == HUB_API && word.split('/').nth(1) == Some("v2");
    if is_api || HUB_PAGES.contains(&host.as_str()) {
        return read_address(word);
    }
    parse_name(word).map_err(|error| match word.strip_prefix("image:") {
        Some(rest) => unsure("it is a line of a file", rest),
        None => error.or_meant(nearly(word)),
    })
}

/// Reads a web address without its scheme.
fn read_address(address: &str) -> Result<ImageRef, ImageRefError> {
    let address = address.split('#').next().unwrap_or_default();
    let (page, query) = address.split_once('?').unwrap_or((address, ""));
    let (host, path) = page.split_once('/').unwrap_or((page, ""));
    // The part before an @ may be a password.
    if host.contains('@') {
        return Err(ImageRefError::new("it is a web address; give the name that `docker pull` takes"));
    }
    let host = host.to_ascii_lowercase();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if HUB_PAGES.contains(&host.as_str())
        || (host == HUB_API && matches!(parts[..], ["r", ..] | ["v2", "repositories" | "namespaces", ..]))
    {
        return read_hub_page(&parts);
    }
    let name = match (host.as_str(), &parts[..]) {
        ("quay.io", ["repository", owner, name, "manifest", digest]) => {
            format!("quay.io/{owner}/{name}@{digest}")
        }
        ("quay.io", ["repository", owner, name, "tag", tag]) => format!("quay.io/{owner}/{name}:{tag}"),
        ("quay.io", ["repository", owner, name, ..]) => format!("quay.io/{owner}/{name}"),
        ("github.com", [owner, _, "pkgs", "container", name, rest @ ..])
        | ("github.com", ["users" | "orgs", owner, "packages", "container", "package", name, rest @ ..]) => {
            let name = format!("ghcr.io/{owner}/{name}").to_ascii_lowercase();
            match query.split('&').find_map(|pair| pair.strip_prefix("tag=")) {
                Some(tag) => format!("{name}:{tag}"),
                // The page of one version tells its number, which no registry knows.
                None if rest.first().is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit())) => {
                    return Err(unsure("it is the page of one version; give its tag", &name));
                }
                None => name,
            }
        }
        (_, ["v2", name @ .., "manifests", reference]) if !name.is_empty() => {
            let mark = if reference.contains(':') { '@' } else { ':' };
            format!("{host}/{}{mark}{reference}", name.join("/"))
        }
        _ => format!("{host}/{}", parts.join("/")),
    };
    let registry = usual_registry(name.split('/').next().unwrap_or_default());
    if registry == DEFAULT_REGISTRY || KNOWN_REGISTRIES.contains(&registry.as_str()) {
        return parse_name(&name).map_err(|error| error.or_meant(nearly(&name)));
    }
    Err(unsure("it is a web address; give the name that `docker pull` takes", &name))
}

fn read_hub_page(parts: &[&str]) -> Result<ImageRef, ImageRefError> {
    let name = match parts {
        ["layers", owner, name, tag, ..]
        | ["repository", "docker" | "registry-1.docker.io", owner, name, "tags", tag, ..]
        | ["v2", "repositories", owner, name, "tags", tag, ..]
        | ["v2", "namespaces", owner, "repositories", name, "tags", tag, ..] => {
            format!("{owner}/{name}:{tag}")
        }
        ["r", owner, name, ..]
        | ["repository", "docker" | "registry-1.docker.io", owner, name, ..]
        | ["u", _, "repository", "docker", owner, name, ..]
        | ["community", "images", owner, name, ..]
        | ["v2", "repositories", owner, name]
        | ["v2", "repositories", owner, name, "tags"]
        | ["v2", "namespaces", owner, "repositories", name]
        | ["v2", "namespaces", owner, "repositories", name, "tags"] => format!("{owner}/{name}"),
        ["_", name, ..] | ["images", name, ..] => format!("library/{name}"),
        [
            "u" | "r" | "repositories" | "orgs" | "search" | "v2" | "layers" | "repository" | "settings",
            ..,
        ]
        | [_]
        | [] => {
            return Err(ImageRefError::new(
                "the address of this page names no image; give the image's own name",
            ));
        }
        [owner, name, ..] => format!("{owner}/{name}"),
    };
    let name = format!("{DEFAULT_REGISTRY}/{name}");
    parse_name(&name).map_err(|error| error.or_meant(nearly(&name)))
}

/// Reads a line of several words: a command, or a line of a Dockerfile or a Compose file.
fn read_line(words: &[&str]) -> Result<ImageRef, ImageRefError> {
    let is_prompt = |word: &&&str| **word == "sudo" || **word == "-" || word.ends_with(['$', '#', '%', '>']);
    let words = &words[words.iter().take_while(is_prompt).count()..];
    match words {
        [word] => read_word(unquoted(word)),
        ["FROM" | "from", rest @ ..] => match operands(rest)?[..] {
            [name] | [name, "AS" | "as", _] => read_word(unquoted(name)),
            _ => Err(ImageRefError::new("it is a line of a file; give the image's name only")),
        },
        ["image:", name] => read_word(unquoted(name)),
        ["docker" | "podman" | "nerdctl", "image" | "container", rest @ ..] => read_command(rest),
        ["docker" | "podman" | "nerdctl", rest @ ..] => read_command(rest),
        _ => {
            let together = words.join(" ").replace(" /", "/").replace("/ ", "/");
            let together =
                together.replace(" :", ":").replace(": ", ":").replace(" @", "@").replace("@ ", "@");
            let several = words.iter().all(|word| parse_name(word.trim_end_matches(',')).is_ok());
            match (together.contains(' '), several) {
                (false, _) => Err(unsure("it has spaces", &together)),
                (_, true) => Err(ImageRefError::new("it has spaces; give each image in a field of its own")),
                _ => Err(ImageRefError::new("it has spaces; give the image's name only")),
            }
        }
    }
}

/// Reads a command of Docker without its first word.
fn read_command(words: &[&str]) -> Result<ImageRef, ImageRefError> {
    match words {
        ["pull" | "push" | "run" | "create", rest @ ..] => match operands(rest)?[..] {
            [name] => read_word(unquoted(name)),
            // An image is run with its own command, so the words after the name would be lost.
            [name, ..] => Err(unsure(ONLY_NAME, unquoted(name))),
            [] => Err(ImageRefError::new(ONLY_NAME)),
        },
        ["tag", _, name] => Err(unsure(ONLY_NAME, unquoted(name))),
        [_, rest @ ..] => {
            let tagged = rest.windows(2).find(|pair| matches!(pair[0], "-t" | "--tag"));
            let tagged = tagged
                .map(|pair| pair[1])
                .or_else(|| rest.iter().find_map(|word| word.strip_prefix("--tag=")));
            Err(tagged.map_or(ImageRefError::new(ONLY_NAME), |name| unsure(ONLY_NAME, unquoted(name))))
        }
        [] => Err(ImageRefError::new(ONLY_NAME)),
    }
}

/// Returns the words of a command from the first one that is neither an option nor an option's value.
///
/// # Errors
/// If it is not known whether an option takes the word after it.
fn operands<'a>(words: &[&'a str]) -> Result<Vec<&'a str>, ImageRefError> {
    let mut at = 0;
    while let Some(option) = words.get(at).filter(|word| word.starts_with('-') && word.len() > 1) {
        at += 1;
        let takes_next = match option.strip_prefix("--") {
            Some("") => break,
            Some(flag) if flag.contains('=') || FLAGS.contains(option) => false,
            Some(flag) if VALUE_FLAGS.split(' ').any(|known| known == flag) => true,
            Some(_) => match words[at..] {
                [name] => return Err(unsure(ONLY_NAME, unquoted(name))),
                _ => return Err(ImageRefError::new(ONLY_NAME)),
            },
            // In `-dp 80:80` the last letter takes a value; in `-p80:80` the value is part of the word.
            None => option[1..]
                .find(|letter| !SHORT_FLAGS.contains(letter))
                .is_some_and(|found| option[1 + found..].chars().count() == 1),
        };
        at += usize::from(takes_next);
    }
    Ok(words.get(at..).unwrap_or_default().to_vec())
}

/// Returns the text without quotation marks, blanks and separators of a list around it.
fn unquoted(text: &str) -> &str {
    let mut text = trimmed(text);
    loop {
        let before = text;
        text = trimmed(text.trim_end_matches([',', ';']));
        for (open, close) in
            [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('„', '“'), ('‘', '’'), ('«', '»'), ('<', '>')]
        {
            if let Some(inner) = text.strip_prefix(open).and_then(|text| text.strip_suffix(close)) {
                text = trimmed(inner);
            }
        }
        if text == before {
            return text;
        }
    }
}

/// Returns the error for a text that may mean `name`.
fn unsure(why: &'static str, name: &str) -> ImageRefError {
    let meant = parse_name(name).ok().or_else(|| nearly(name));
    ImageRefError::new(why).or_meant(meant)
}

/// Returns the name that a text would be with slips of the hand mended: capital letters, a slash too many, no tag after the
/// colon, or `@` before a tag.
fn nearly(text: &str) -> Option<ImageRef> {
    let slashes = text.replace('\\', "/");
    let parts: Vec<&str> = slashes.split('/').filter(|part| !part.is_empty() && *part != "_").collect();
    let mended = parts.join("/").trim_end_matches([':', '.', '@']).to_owned();
    let mended = match mended.split_once('@') {
        Some((name, tag)) if !tag.contains(':') => format!("{name}:{tag}"),
        _ => mended,
    };
    let end = mended.rfind('/').unwrap_or(0);
    let name_end = mended[end..].find([':', '@']).map_or(mended.len(), |at| end + at);
    let (name, tag) = mended.split_at(name_end);
    parse_name(&format!("{}{tag}", name.to_ascii_lowercase())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_means_one_name_is_taken_for_it() {
        for (typed, name) in [
            ("index.docker.io/ada/app", "ada/app"),
            ("registry-1.docker.io/ada/app:1", "ada/app:1"),
            ("registry.hub.docker.com/ada/app", "ada/app"),
            ("Docker.io/ada/app", "ada/app"),
            ("INDEX.DOCKER.IO:443/ada/app", "ada/app"),
            ("docker.io:443/nginx", "nginx"),
            ("index.docker.io/v1/ada/app", "ada/app"),
            ("GHCR.io/ada/app:V1", "ghcr.io/ada/app:V1"),
            ("Localhost:5000/ada/app", "localhost:5000/ada/app"),
            (" \u{feff}ada/app\u{200b}\n", "ada/app"),
            ("\"ada/app\",", "ada/app"),
            ("`ada/app:1`", "ada/app:1"),
            ("“ada/app”;", "ada/app"),
            ("<https://hub.docker.com/r/ada/app>", "ada/app"),
            ("docker pull ada/app:1", "ada/app:1"),
            ("$ docker pull ada/app", "ada/app"),
            ("ada@laptop:~$ sudo docker pull 'ada/app'", "ada/app"),
            ("docker image pull --platform linux/amd64 -q ada/app", "ada/app"),
            ("docker pull --platform=linux/amd64 docker.io/ada/app", "ada/app"),
            ("podman pull docker://docker.io/ada/app", "ada/app"),
            ("docker push ada/app:1", "ada/app:1"),
            ("docker run ada/app", "ada/app"),
            ("docker run --rm -it -p 8000:80 -e A=b --name x ada/app:1", "ada/app:1"),
            ("docker run -dp 80:80 ada/app", "ada/app"),
            ("docker run -p80:80 \\\n  --read-only \\\n  ada/app", "ada/app"),
            ("FROM ada/app:1 AS build", "ada/app:1"),
            ("image: \"ada/app\"", "ada/app"),
            ("- image: ada/app", "ada/app"),
            ("docker://ada/app", "ada/app"),
            ("https://hub.docker.com/r/ada/app", "ada/app"),
            ("http://hub.docker.com/r/ada/app/", "ada/app"),
            ("HTTPS://Hub.Docker.com/r/ada/app/tags?page=1#x", "ada/app"),
            ("hub.docker.com/r/ada/app", "ada/app"),
            ("hub.docker.com/ada/app:1", "ada/app:1"),
            ("https://hub.docker.com/r/ada/app:1", "ada/app:1"),
            ("https://hub.docker.com/_/nginx", "nginx"),
            ("https://hub.docker.com/repository/docker/ada/app/general", "ada/app"),
            ("https://hub.docker.com/repository/registry-1.docker.io/ada/app/tags", "ada/app"),
            ("https://hub.docker.com/layers/ada/app/1.0/images/sha256-0a1b?context=repo", "ada/app:1.0"),
            ("https://hub.docker.com/v2/repositories/ada/app/tags/1.0", "ada/app:1.0"),
            ("https://cloud.docker.com/u/ada/repository/docker/ada/app", "ada/app"),
            ("https://registry.hub.docker.com/r/ada/app", "ada/app"),
            ("https://registry.hub.docker.com/v2/repositories/ada/app/tags", "ada/app"),
            ("registry.hub.docker.com/v2/repositories/ada/app/tags", "ada/app"),
            ("registry.hub.docker.com/v2/namespaces/ada/repositories/app/tags/1.0", "ada/app:1.0"),
            ("registry.hub.docker.com/v2/ada/app/manifests/1.0", "ada/app:1.0"),
            ("https://hub.docker.com/repository/docker/ada/app/tags/1.0/sha256-0a1b", "ada/app:1.0"),
            ("https://hub.docker.com/repository/docker/ada/app/tags", "ada/app"),
            ("https://docker.io/ada/app", "ada/app"),
            ("http://index.docker.io/ada/app:1", "ada/app:1"),
            ("https://registry-1.docker.io/v2/ada/app/manifests/1.0", "ada/app:1.0"),
            ("https://ghcr.io/ada/app:1", "ghcr.io/ada/app:1"),
            ("https://quay.io/repository/ada/app?tab=tags", "quay.io/ada/app"),
            ("https://quay.io/repository/ada/app/tag/1.0", "quay.io/ada/app:1.0"),
            ("https://github.com/Ada/x/pkgs/container/app", "ghcr.io/ada/app"),
            ("https://github.com/ada/x/pkgs/container/app/12345?tag=1.0", "ghcr.io/ada/app:1.0"),
            ("https://github.com/users/ada/packages/container/package/app?tag=V1#x", "ghcr.io/ada/app:V1"),
            ("https://github.com/ada/x/pkgs/container/app/versions", "ghcr.io/ada/app"),
            ("docker run --network host --cpus 1 --pull always ada/app", "ada/app"),
        ] {
            let image = typed.parse::<ImageRef>().unwrap_or_else(|error| panic!("{typed:?}: {error}"));
            assert_eq!(image.familiar(), name, "{typed:?}");
        }
    }

    #[test]
    fn the_page_of_a_digest_means_this_digest() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let typed = format!("https://quay.io/repository/ada/app/manifest/{digest}");
        assert_eq!(typed.parse::<ImageRef>().unwrap().familiar(), format!("quay.io/ada/app@{digest}"));
    }

    #[test]
    fn a_text_that_may_mean_a_name_is_refused_with_the_name_to_write() {
        for (typed, name) in [
            ("Ada/App:V1", "ada/app:V1"),
            ("docker.io/Ada/app", "ada/app"),
            ("https://hub.docker.com/r/Ada/App", "ada/app"),
            ("ada / app : 1", "ada/app:1"),
            ("ada/app : latest", "ada/app"),
            ("ada\\app", "ada/app"),
            ("/ada/app/", "ada/app"),
            ("ada//app", "ada/app"),
            ("ada/app:", "ada/app"),
            ("ada/app@1.0", "ada/app:1.0"),
            ("docker run ada/app serve --port 80", "ada/app"),
            ("docker pull ada/app && docker run ada/app", "ada/app"),
            ("docker build -t ada/app:1 .", "ada/app:1"),
            ("docker tag app ada/app", "ada/app"),
            ("image:ada/app", "ada/app"),
            ("https://registry.example:5000/ada/app", "registry.example:5000/ada/app"),
            ("oci://ghcr.io/ada/app", "ghcr.io/ada/app"),
            ("https://github.com/ada/x/pkgs/container/app/12345", "ghcr.io/ada/app"),
            ("podman run --rmi ada/app", "ada/app"),
        ] {
            let error = typed.parse::<ImageRef>().unwrap_err();
            assert_eq!(error.meant().map(ImageRef::familiar).as_deref(), Some(name), "{typed:?}: {error}");
            assert!(error.to_string().contains(&format!("write “{name}”")), "{error}");
        }
    }

    #[test]
    fn a_text_that_means_no_name_is_refused_without_one() {
        for typed in [
            "https://hub.docker.com/u/ada",
            "https://hub.docker.com/repositories/ada",
            "https://hub.docker.com",
            "https://ada:secret@docker.io/ada/app",
            "ada/app, ada/other",
            "my voting app",
            "docker pull",
            "docker login -u ada",
            "\"\"",
            "$",
            "--",
            "docker run --rm",
            "podman run --rmi ada/app bin/server",
        ] {
            let error = typed.parse::<ImageRef>().unwrap_err();
            assert_eq!(error.meant(), None, "{typed:?}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
