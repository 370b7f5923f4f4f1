//! Measures the language of the Rust sources, and fails when it gets worse than `CONTRIBUTING.md` allows. Tests, benches,
//! examples and generated code are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Words that open a sentence whose subject has no name.
const FREE_RELATIVES: [&str; 19] = [
    "what",
    "whatever",
    "who",
    "whoever",
    "whose",
    "whom",
    "those",
    "so",
    "how",
    "whether",
    "which",
    "where",
    "why",
    "one",
    "none",
    "nobody",
    "somebody",
    "everybody",
    "anybody",
];

/// Folders that are not measured.
const LEFT_OUT: [&str; 8] =
    ["tests", "benches", "examples", "fuzz", "target", "generated", "node_modules", ".git"];

const FUNCTION_LINES_MAX: usize = 100;
const FILE_LINES_MAX: usize = 450;

/// The measures of one source file.
#[derive(Default)]
struct SourceMeasures {
    path: String,
    lines: usize,
    /// The doc comments, each as one text.
    doc_comments: Vec<String>,
    /// The words of all comments, in lower case.
    comment_words: Vec<String>,
    type_names: Vec<String>,
    /// The functions with their lines.
    functions: Vec<(String, usize)>,
}

#[test]
fn few_doc_comments_open_with_a_free_relative() {
    let comments = doc_comments();
    let opens = |comment: &&String| {
        let first = comment.split_whitespace().next().unwrap_or_default().to_lowercase();
        let letters: String = first.chars().filter(char::is_ascii_lowercase).collect();
        FREE_RELATIVES.contains(&letters.as_str())
    };
    assert_share(&comments, opens, 5.0, "doc comments open with a word such as what, who or how");
}

#[test]
fn few_doc_comments_have_three_words_or_fewer() {
    let comments = doc_comments();
    let short = |comment: &&String| comment.split_whitespace().count() <= 3;
    assert_share(&comments, short, 3.0, "doc comments have three words or fewer");
}

#[test]
fn comments_rarely_say_what() {
    let words: Vec<String> = sources().into_iter().flat_map(|source| source.comment_words).collect();
    let said = words.iter().filter(|word| *word == "what").count();
    let in_a_thousand = 1000.0 * said as f64 / words.len() as f64;
    assert!(in_a_thousand <= 2.0, "\"what\" is {in_a_thousand:.1} in 1,000 words of comments, more than 2");
}

#[test]
fn most_type_names_have_two_words() {
    let names: Vec<String> = type_names().into_keys().collect();
    let one_word = |name: &&String| name.chars().filter(char::is_ascii_uppercase).count() < 2;
    assert_share(&names, one_word, 35.0, "type names have one word");
}

#[test]
fn few_type_names_are_declared_in_several_files() {
    let declarations = type_names();
    let names: Vec<String> = declarations.keys().cloned().collect();
    let repeated = |name: &&String| declarations[*name].len() > 1;
    assert_share(&names, repeated, 8.0, "type names are declared in more than one file");
}

#[test]
fn functions_and_files_are_short() {
    for source in sources() {
        let path = &source.path;
        assert!(source.lines <= FILE_LINES_MAX, "{path} has {} lines", source.lines);
        for (name, lines) in &source.functions {
            assert!(*lines <= FUNCTION_LINES_MAX, "{name} in {path} has {lines} lines");
        }
    }
}

/// Fails if more than `percent` of the texts are as `is_counted` says, and shows them.
fn assert_share(texts: &[String], is_counted: impl Fn(&&String) -> bool, percent: f64, description: &str) {
    let counted: Vec<&String> = texts.iter().filter(is_counted).collect();
    let share = 100.0 * counted.len() as f64 / texts.len() as f64;
    assert!(share <= percent, "{share:.1} % of the {description}, more than {percent} %: {counted:#?}");
}

fn doc_comments() -> Vec<String> {
    sources().into_iter().flat_map(|source| source.doc_comments).collect()
}

/// Returns each type name with the files that declare it.
fn type_names() -> BTreeMap<String, BTreeSet<String>> {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        for name in source.type_names {
            names.entry(name).or_default().insert(source.path.clone());
        }
    }
    names
}

fn sources() -> Vec<SourceMeasures> {
    let mut paths = Vec::new();
    collect_sources(Path::new(env!("CARGO_MANIFEST_DIR")), &mut paths);
    assert!(paths.len() > 100, "only {} source files were found", paths.len());
    paths.iter().map(|path| SourceMeasures::of_file(path)).collect()
}

fn collect_sources(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() {
            if !LEFT_OUT.contains(&name.as_str()) && name != ".muster" {
                collect_sources(&path, paths);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            paths.push(path);
        }
    }
}

impl SourceMeasures {
    fn of_file(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let mut measures = Self { path: path.display().to_string(), lines: lines.len(), ..Self::default() };
        let mut doc_comment: Vec<&str> = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            let trimmed = line.trim();
            if let Some(comment) = trimmed.strip_prefix("//") {
                let words = comment.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '-'));
                measures.comment_words.extend(words.filter(|word| !word.is_empty()).map(str::to_lowercase));
            }
            if let Some(doc) = trimmed.strip_prefix("///") {
                doc_comment.push(doc.trim());
                continue;
            }
            if !doc_comment.is_empty() {
                measures.doc_comments.push(std::mem::take(&mut doc_comment).join(" "));
            }
            measures.type_names.extend(declared_type(trimmed));
            if let Some(name) = declared_function(trimmed) {
                measures.functions.push((name, function_lines(&lines[number..])));
            }
        }
        measures
    }
}

/// Returns the name of the type that a line declares.
fn declared_type(line: &str) -> Option<String> {
    let rest = without_visibility(line);
    let keywords = ["struct ", "enum ", "trait ", "union "];
    keywords.iter().find_map(|keyword| rest.strip_prefix(keyword)).map(identifier)
}

/// Returns the name of the function that a line begins, if the function has a body.
fn declared_function(line: &str) -> Option<String> {
    let mut rest = without_visibility(line);
    for modifier in ["const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(modifier).unwrap_or(rest);
    }
    rest.strip_prefix("fn ").filter(|_| !line.ends_with(';')).map(identifier)
}

/// Returns the number of lines up to the closing brace with the indentation of the first line.
fn function_lines(lines: &[&str]) -> usize {
    let indentation = &lines[0][..lines[0].len() - lines[0].trim_start().len()];
    let closing = format!("{indentation}}}");
    lines.iter().position(|line| line.starts_with(&closing)).map_or(1, |end| end + 1)
}

fn without_visibility(line: &str) -> &str {
    match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with(' ') => rest.trim_start(),
        Some(rest) if rest.starts_with('(') => {
            rest.split_once(") ").map_or(line, |(_, rest)| rest.trim_start())
        }
        _ => line,
    }
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
