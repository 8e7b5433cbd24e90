//! Circles between the files of one crate: `a.rs` uses what `b.rs` defines, and `b.rs`, maybe by way of others, what `a.rs` defines. Reads `use` and
//! paths as they are written (tests left out) and finds the file that defines a name behind any re-exports. A re-export alone, or `mod child;`, is no
//! use; nor is what a module uses of the modules below it. What comes of traits and of macros' insides that name no path is not seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

use super::{Finding, SourceFile};

/// What an item begins with; the last of a row says what it is, and its name follows.
const KEYWORDS: &str = " mod use fn struct enum const static trait type macro_rules mut unsafe async extern ";
/// Re-exports of re-exports are followed so far.
const DEPTH_MAX: usize = 16;

type Path = Vec<String>;
/// What each file uses of each other: the names.
type Edges<'f> = BTreeMap<&'f str, BTreeMap<&'f str, BTreeSet<String>>>;

/// A module, in a file of its own or within another's.
#[derive(Default)]
struct Module<'f> {
    file: &'f str,
    parent: usize,
    names: BTreeMap<String, Meaning>,
    globs: Vec<Path>,
    /// Paths in the code, and those of `use` but for re-exports.
    mentions: Vec<Path>,
}

/// What a name means in a module.
enum Meaning {
    Child(usize),
    /// Something that the module defines.
    Item,
    /// What `use` brings by this path.
    Import(Path),
}

/// What a path leads to.
#[derive(Clone, Copy)]
enum Target {
    Module(usize),
    /// Something that this module defines.
    Item(usize),
    /// Another crate's, or a local name.
    Foreign,
}

/// A finding for each circle, at its first file.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let circles = find(files).unwrap_or_else(|error| vec![error]);
    let advice = "move what both sides use into a file of its own";
    let of = |circle: &String| circle.split(' ').next().map(str::to_owned).unwrap_or_default();
    circles.iter().map(|circle| Finding::new(&of(circle), 0, format!("is in a circle, {circle}; {advice}"))).collect()
}

/// Every circle, as `a.rs -> b.rs -> a.rs` with the names behind each arrow; each file that is in any circle is in one of these. An error is a file
/// that can not be read as Rust. What a module uses of the modules below it is no arrow: it owns them, and they may speak its language.
fn find(files: &[SourceFile]) -> Result<Vec<String>, String> {
    let texts: BTreeMap<&str, &str> = files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let is_root =
        |path: &str| ["src/lib.rs", "src/main.rs"].iter().any(|root| format!("/{path}").ends_with(&format!("/{root}")));
    let mut circles = Vec::new();
    for root in texts.keys().filter(|path| is_root(path)) {
        let mut krate = Crate { texts: &texts, modules: Vec::new() };
        krate.read(root, 0, root.rsplit_once('/').map_or("", |(folder, _)| folder))?;
        circles.extend(shortest_circles(&krate.edges()));
    }
    Ok(circles)
}

struct Crate<'f> {
    texts: &'f BTreeMap<&'f str, &'f str>,
    /// The first is the root.
    modules: Vec<Module<'f>>,
}

impl<'f> Crate<'f> {
    /// Reads a file as a module, and the modules below it, whose files are in `folder`.
    fn read(&mut self, file: &'f str, parent: usize, folder: &str) -> Result<usize, String> {
        let text = self.texts.get(file).copied().unwrap_or_default();
        let tokens = text.parse().map_err(|error| format!("{file} can not be read: {error}"))?;
        self.take(tokens, file, parent, folder)
    }

    fn take(&mut self, tokens: TokenStream, file: &'f str, parent: usize, folder: &str) -> Result<usize, String> {
        let at = self.modules.len();
        self.modules.push(Module::default());
        let mut module = Module { file, parent, ..Module::default() };
        for item in items(tokens) {
            let words: Vec<String> = item.iter().filter_map(word).collect();
            let is_keyword = |word: &String| KEYWORDS.contains(&format!(" {word} "));
            let keywords = words.iter().skip_while(|word| !is_keyword(word)).take_while(|word| is_keyword(word));
            let name = words.iter().skip_while(|word| !is_keyword(word)).find(|word| !is_keyword(word));
            match (keywords.last().map_or("", String::as_str), name) {
                ("mod", Some(name)) => {
                    let below = format!("{folder}/{name}");
                    let places = [format!("{below}.rs"), format!("{below}/mod.rs")];
                    let own_file = self.texts.keys().copied().find(|path| places.iter().any(|place| place == path));
                    let child = match (item.last(), own_file) {
                        (Some(TokenTree::Group(within)), _) => self.take(within.stream(), file, at, &below)?,
                        (_, Some(own_file)) => self.read(own_file, at, &below)?,
                        // At a path of its own: tests have that.
                        _ => continue,
                    };
                    module.names.insert(name.clone(), Meaning::Child(child));
                }
                ("use", _) => {
                    let tree = item.iter().skip_while(|token| word(token).is_none_or(|word| word != "use")).skip(1);
                    module.take_use(tree.cloned(), &[], words.iter().any(|word| word == "pub"));
                }
                (_, name) => {
                    // A module may have the name, too.
                    let is_new = |name: &&String| !matches!(module.names.get(*name), Some(Meaning::Child(_)));
                    if let Some(name) = name.filter(is_new) {
                        module.names.insert(name.clone(), Meaning::Item);
                    }
                    scan(item.into_iter().collect(), &[], &mut module.mentions);
                }
            }
        }
        if let Some(place) = self.modules.get_mut(at) {
            *place = module;
        }
        Ok(at)
    }

    /// Where a path leads that is written in the module.
    fn resolve(&self, module: usize, path: &[String], depth: usize) -> Target {
        let Some((first, rest)) = path.split_first() else { return Target::Foreign };
        let mut target = match first.as_str() {
            "crate" => Target::Module(0),
            _ => self.step(module, first, depth).unwrap_or(Target::Foreign),
        };
        for name in rest {
            let Target::Module(within) = target else { break };
            // What it has not in plain sight, a macro made.
            target = self.step(within, name, depth).unwrap_or(Target::Item(within));
        }
        target
    }

    /// What a name leads to in a module; `None` where it means nothing there.
    fn step(&self, at: usize, name: &str, depth: usize) -> Option<Target> {
        let module = self.modules.get(at)?;
        match (name, module.names.get(name)) {
            ("self", _) => Some(Target::Module(at)),
            ("super", _) => Some(Target::Module(module.parent)),
            _ if depth > DEPTH_MAX => Some(Target::Foreign),
            (_, Some(Meaning::Child(child))) => Some(Target::Module(*child)),
            (_, Some(Meaning::Item)) => Some(Target::Item(at)),
            (_, Some(Meaning::Import(path))) => Some(self.resolve(at, path, depth + 1)),
            (_, None) => module.globs.iter().find_map(|glob| match self.resolve(at, glob, depth + 1) {
                Target::Module(behind) if behind != at => self.step(behind, name, depth + 1),
                _ => None,
            }),
        }
    }

    /// Whether a module is below another, at any depth.
    fn is_below(&self, module: usize, above: usize) -> bool {
        // The root is its own parent.
        let mut parents =
            std::iter::successors(Some(module), |at| self.modules.get(*at).map(|m| m.parent).filter(|p| p != at));
        parents.any(|at| at == above)
    }

    fn edges(&self) -> Edges<'f> {
        let mut edges = Edges::new();
        for (at, module) in self.modules.iter().enumerate() {
            for path in &module.mentions {
                let Target::Item(of) = self.resolve(at, path, 0) else { continue };
                let Some(used) = self.modules.get(of).filter(|used| used.file != module.file) else { continue };
                if self.is_below(of, at) {
                    continue;
                }
                let is_defined = |name: &&String| matches!(used.names.get(*name), Some(Meaning::Item));
                let name = path.iter().rev().find(is_defined).or(path.last());
                edges.entry(module.file).or_default().entry(used.file).or_default().extend(name.cloned());
            }
        }
        edges
    }
}

impl Module<'_> {
    /// Takes what stands behind `use`, or in braces within it.
    fn take_use(&mut self, tree: impl IntoIterator<Item = TokenTree>, before: &[String], is_public: bool) {
        let tokens: Vec<TokenTree> = tree.into_iter().collect();
        'pieces: for piece in tokens.split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')) {
            let mut path = before.to_vec();
            for token in piece {
                match token {
                    TokenTree::Ident(name) => path.push(name.to_string()),
                    TokenTree::Group(group) => {
                        self.take_use(group.stream(), &path, is_public);
                        continue 'pieces;
                    }
                    TokenTree::Punct(punct) if punct.as_char() == '*' => {
                        self.globs.push(path);
                        continue 'pieces;
                    }
                    _ => {}
                }
            }
            let alias = path.iter().position(|word| word == "as").and_then(|at| path.drain(at..).nth(1));
            // `use a::b::{self}` brings `b`.
            if path.len() > 1 && path.last().is_some_and(|word| word == "self") {
                path.pop();
            }
            let Some(name) = alias.or_else(|| path.last().cloned()) else { continue };
            if path.len() > 1 || path.first() != Some(&name) {
                if !is_public {
                    self.mentions.push(path.clone());
                }
                self.names.entry(name).or_insert(Meaning::Import(path));
            }
        }
    }
}

fn word(token: &TokenTree) -> Option<String> {
    if let TokenTree::Ident(word) = token { Some(word.to_string()) } else { None }
}

/// The items of a module but for tests, each to its semicolon or its braces.
fn items(tokens: TokenStream) -> Vec<Vec<TokenTree>> {
    let (mut items, mut item, mut is_test, mut is_use) = (Vec::new(), Vec::new(), false, false);
    for token in tokens {
        let is_end = match &token {
            TokenTree::Group(group) => {
                let is_attribute = group.delimiter() == Delimiter::Bracket;
                is_test |= is_attribute && group.stream().to_string().replace(' ', "") == "cfg(test)";
                group.delimiter() == Delimiter::Brace && !is_use
            }
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Ident(word) => {
                is_use |= word == "use";
                false
            }
            TokenTree::Literal(_) => false,
        };
        item.push(token);
        if is_end {
            let whole = std::mem::take(&mut item);
            if !std::mem::take(&mut is_test) {
                items.push(whole);
            }
            is_use = false;
        }
    }
    items
}

/// Collects the paths in some code: names joined by `::`, also those that stand in braces behind one (`use` within a function).
fn scan(tokens: TokenStream, before: &[String], paths: &mut Vec<Path>) {
    let mut path = before.to_vec();
    // Whether a name would go on with the path.
    let mut is_open = !before.is_empty();
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(name) => {
                if !is_open {
                    paths.push(std::mem::replace(&mut path, before.to_vec()));
                }
                path.push(name.to_string());
                is_open = false;
                continue;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' && punct.spacing() == Spacing::Joint => {
                tokens.next();
                is_open = true;
                continue;
            }
            TokenTree::Group(group) => scan(group.stream(), if is_open { &path } else { &[] }, paths),
            _ => {}
        }
        paths.push(std::mem::replace(&mut path, before.to_vec()));
        is_open = !before.is_empty();
    }
    paths.push(path);
}

/// For each file that is in a circle and in none that was shown, the shortest one.
fn shortest_circles(edges: &Edges) -> Vec<String> {
    let mut shown = BTreeSet::new();
    let mut circles = Vec::new();
    for start in edges.keys() {
        let Some(circle) = (!shown.contains(start)).then(|| shortest_circle(start, edges)).flatten() else { continue };
        let mut text = (*start).to_owned();
        for (from, to) in circle.iter().zip(circle.iter().cycle().skip(1)) {
            let names = edges.get(from).and_then(|uses| uses.get(to)).into_iter().flatten();
            text.push_str(&format!(" -> {to} ({})", names.cloned().collect::<Vec<_>>().join(", ")));
        }
        shown.extend(circle);
        circles.push(text);
    }
    circles
}

/// The files from `start` to the last one that uses it.
fn shortest_circle<'f>(start: &'f str, edges: &Edges<'f>) -> Option<Vec<&'f str>> {
    let mut waiting = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = waiting.pop_front() {
        for next in edges.get(path.last()?).into_iter().flat_map(BTreeMap::keys) {
            if *next == start {
                return Some(path);
            }
            if seen.insert(*next) {
                waiting.push_back([path.as_slice(), &[*next]].concat());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::super::tests::file;
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<SourceFile> = files.iter().map(|(path, text)| file(path, text)).collect();
        find(&files).unwrap_or_else(|error| vec![error])
    }

    #[test]
    fn files_that_use_each_other_are_a_circle_however_they_write_it() {
        let root = ("x/src/lib.rs", "mod a;\nmod b;\nmod c;");
        for (a, b, names) in [
            ("use crate::b::B; pub struct A;", "use super::a::A; pub struct B;", ("B", "A")),
            ("pub fn a() { crate::b::f(1) }", "use crate::a; pub fn f(_: u8) { a::a() }", ("f", "a")),
            (
                "pub fn a() { println!(\"{}\", super::b::ONE) }",
                "fn f() { use crate::{a::{a}}; } pub const ONE: u8 = 1;",
                ("ONE", "a"),
            ),
            ("use crate::b as other; pub type A = other::B;", "made! { pub enum B { X(crate::a::A) } }", ("B", "A")),
        ] {
            let circles = found(&[root, ("x/src/a.rs", a), ("x/src/b.rs", b), ("x/src/c.rs", "use crate::a::A;")]);
            assert_eq!(circles, [format!("x/src/a.rs -> x/src/b.rs ({}) -> x/src/a.rs ({})", names.0, names.1)], "{a}");
        }
    }

    #[test]
    fn a_re_export_leads_to_the_file_that_defines_the_name() {
        let files = |parent: &'static str| {
            found(&[
                ("src/lib.rs", "mod p;"),
                ("src/p/mod.rs", parent),
                ("src/p/a.rs", "use super::B; pub struct A(B);"),
                ("src/p/b.rs", "pub struct B; #[cfg(test)] mod tests { use super::super::A; }"),
            ])
        };
        assert_eq!(
            files("mod a; mod b; pub use a::A; pub use self::b::B; use std::fmt;"),
            [""; 0],
            "the parent is in no circle"
        );
        assert_eq!(files("mod a; mod b; pub use a::A; pub struct B;"), [""; 0], "it re-exports only");
    }

    #[test]
    fn a_parent_may_use_its_parts() {
        let files = [
            ("src/lib.rs", "mod p; mod q;"),
            ("src/p.rs", "mod a; pub struct P(a::A);"),
            ("src/p/a.rs", "pub struct A; fn f(_: super::P) {} use crate::q::Q;"),
            ("src/q.rs", "pub struct Q; fn f(_: crate::p::P) {}"),
        ];
        assert_eq!(found(&files), [""; 0]);
        assert_eq!(found(&[files[0], ("src/p.rs", "use crate::q::Q; pub struct P;"), files[3]]).len(), 1);
    }

    #[test]
    fn long_circles_are_found_once_and_crates_are_apart() {
        let circles = found(&[
            ("x/src/main.rs", "mod a; mod b; mod c; use c::C; fn main() {}"),
            ("x/src/a.rs", "use crate::b::B; pub struct A;"),
            ("x/src/b.rs", "use crate::c::*; pub struct B(C); fn f() -> crate::c::C { C }"),
            ("x/src/c.rs", "use super::a::A; pub struct C;"),
            ("y/src/lib.rs", "pub struct A; use x::B;"),
        ]);
        assert_eq!(circles, ["x/src/a.rs -> x/src/b.rs (B) -> x/src/c.rs (C) -> x/src/a.rs (A)"]);
        assert!(found(&[("src/lib.rs", "fn {")]).concat().starts_with("src/lib.rs can not be read"));
    }
}
