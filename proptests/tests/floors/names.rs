//! The names that the modules of a crate know, and where a path that is written in one leads.

use crate::graph::{Code, is_test};
use std::collections::BTreeMap;
use syn::{ImplItem, Item, Type, UseTree};

/// A module's path from the root of its crate; the root's is empty.
pub(crate) type Module = Vec<String>;

/// A name that a module knows.
#[derive(Clone, Debug)]
enum Known {
    /// An item of its own.
    Item,
    /// What a path leads to.
    Path(Vec<String>),
}

/// Where a path leads: a module, and the item of it that is meant, if one is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) module: Module,
    pub(crate) item: Option<String>,
}

/// What is known of a crate before its uses are followed.
#[derive(Default)]
pub(crate) struct Names {
    /// The file that each module is in.
    pub(crate) files: BTreeMap<Module, String>,
    known: BTreeMap<Module, BTreeMap<String, Vec<Known>>>,
    globs: BTreeMap<Module, Vec<Vec<String>>>,
    /// The types of the fields of structs.
    pub(crate) fields: BTreeMap<(Place, String), (Module, Vec<String>)>,
    /// The files in which methods are defined.
    pub(crate) methods: BTreeMap<(Place, String), String>,
}

impl Names {
    /// Notes what a module defines and imports.
    pub(crate) fn learn(&mut self, module: &Module, items: &[Item]) {
        self.known.entry(module.clone()).or_default();
        for item in items {
            if let Item::Use(item) = item {
                let mut paths = Vec::new();
                flatten(&item.tree, Vec::new(), &mut paths);
                paths.into_iter().for_each(|(path, name)| self.learn_use(module, path, name));
            }
            let Some(name) = name_of(item) else { continue };
            if let Item::Struct(item) = item {
                let place = Place { module: module.clone(), item: Some(name.clone()) };
                for (at, field) in item.fields.iter().enumerate() {
                    let field_name = match &field.ident {
                        Some(ident) => ident.to_string(),
                        None => at.to_string(),
                    };
                    if let Some(path) = type_path(&field.ty) {
                        self.fields.insert((place.clone(), field_name), (module.clone(), path));
                    }
                }
            }
            self.know(module, name, Known::Item);
        }
    }

    fn learn_use(&mut self, module: &Module, path: Vec<String>, name: String) {
        if name == "*" {
            self.globs.entry(module.clone()).or_default().push(path);
        } else if name != "_" {
            self.know(module, name, Known::Path(path));
        }
    }

    fn know(&mut self, module: &Module, name: String, known: Known) {
        let names = self.known.entry(module.clone()).or_default();
        names.entry(name).or_default().push(known);
    }

    /// Notes the methods of types.
    pub(crate) fn learn_methods(&mut self, code: &Code) {
        for item in &code.items {
            let Item::Impl(block) = item else { continue };
            let Some(path) = type_path(&block.self_ty) else { continue };
            let Some(place) = self.find(&code.module, &path) else { continue };
            for inner in &block.items {
                let ImplItem::Fn(method) = inner else { continue };
                if block.trait_.is_none() && !is_test(&method.attrs) {
                    let key = (place.clone(), method.sig.ident.to_string());
                    self.methods.insert(key, self.files[&code.module].clone());
                }
            }
        }
    }

    /// Where a path that is written in a module leads; `None` if that is outside of the crate.
    pub(crate) fn find(&self, module: &Module, path: &[String]) -> Option<Place> {
        self.follow(module, path, true, 16)
    }

    /// `depth` ends circles of imports.
    fn follow(&self, at: &Module, path: &[String], is_start: bool, depth: u8) -> Option<Place> {
        let depth = depth.checked_sub(1)?;
        let [first, rest @ ..] = path else {
            return Some(Place { module: at.clone(), item: None });
        };
        match (is_start, first.as_str()) {
            (true, "crate") => return self.follow(&Vec::new(), rest, false, depth),
            (true, "self") => return self.follow(at, rest, false, depth),
            (_, "super") => {
                let (_, parent) = at.split_last()?;
                return self.follow(&parent.to_vec(), rest, false, depth);
            }
            _ => {}
        }
        let child = [at.clone(), vec![first.clone()]].concat();
        if self.files.contains_key(&child) {
            return self.follow(&child, rest, false, depth);
        }
        for known in self.known.get(at).and_then(|names| names.get(first)).into_iter().flatten() {
            match known {
                Known::Item => {
                    return Some(Place { module: at.clone(), item: Some(first.clone()) });
                }
                Known::Path(path) => {
                    let whole = [path, rest].concat();
                    if let Some(place) = self.follow(at, &whole, true, depth) {
                        return Some(place);
                    }
                }
            }
        }
        let globs = self.globs.get(at).into_iter().flatten();
        let mut through_globs = globs.filter_map(|glob| {
            let place = self.follow(at, glob, true, depth)?;
            let known = self.known.get(&place.module)?;
            let is_there = place.item.is_none() && known.contains_key(first);
            if is_there { self.follow(&place.module, path, false, depth) } else { None }
        });
        // What a module does not define itself, a macro of it may.
        let own = || (!is_start).then(|| Place { module: at.clone(), item: None });
        through_globs.next().or_else(own)
    }
}

/// The path of a type, whether it is borrowed or not.
pub(crate) fn type_path(of: &Type) -> Option<Vec<String>> {
    match of {
        Type::Path(path) => Some(segments(&path.path)),
        Type::Reference(reference) => type_path(&reference.elem),
        Type::Paren(inner) => type_path(&inner.elem),
        _ => None,
    }
}

pub(crate) fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

/// The name that an item defines.
fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// The paths of a `use`, each with the name that it is known by; `*` for all names.
pub(crate) fn flatten(
    tree: &UseTree,
    mut before: Vec<String>,
    found: &mut Vec<(Vec<String>, String)>,
) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, found);
        }
        UseTree::Name(name) if name.ident == "self" => {
            let known = before.last().cloned().unwrap_or_default();
            found.push((before, known));
        }
        UseTree::Name(name) => {
            before.push(name.ident.to_string());
            found.push((before, name.ident.to_string()));
        }
        UseTree::Rename(rename) => {
            if rename.ident != "self" {
                before.push(rename.ident.to_string());
            }
            found.push((before, rename.rename.to_string()));
        }
        UseTree::Glob(_) => found.push((before, "*".to_owned())),
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| flatten(tree, before.clone(), found));
        }
    }
}
