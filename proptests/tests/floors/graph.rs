//! Which file of a crate uses which, read from the sources with `syn`.
//!
//! A name is followed to the file that defines it, through groups, renames, globs and re-exports,
//! so that a path cannot hide where it leads. A call of a method is followed as far as the type of
//! its receiver is written down: `self`, a parameter, or a field of one.
//!
//! Tests are left out: what stands behind `#[cfg(test)]`, wherever that is in a file. Names inside
//! the arguments of macros are read as paths. What a macro makes of them is not known.

use crate::names::{Module, Names, Place, flatten, segments, type_path};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, FnArg, Item, Member, Meta, Pat, Token};

/// The texts of a crate by their place below its root file.
pub(crate) type Texts = BTreeMap<String, String>;

/// The files of a crate and what they use.
#[derive(Default)]
pub(crate) struct Graph {
    /// For a file and one that it uses, a path by which it does.
    pub(crate) uses: BTreeMap<(String, String), String>,
    /// The module of each file that is not a test.
    pub(crate) modules: BTreeMap<String, Module>,
    /// What the reader cannot follow.
    pub(crate) complaints: Vec<String>,
}

/// A module's items, without those of its tests.
pub(crate) struct Code {
    pub(crate) module: Module,
    pub(crate) items: Vec<Item>,
}

impl Graph {
    /// Reads a crate, whose root is the file called `root`.
    pub(crate) fn of(texts: &Texts, root: &str) -> Self {
        let mut reader = Reader {
            texts,
            names: Names::default(),
            code: Vec::new(),
            reached: BTreeSet::new(),
            complaints: Vec::new(),
        };
        reader.read_file(Vec::new(), root, false);
        let orphans = texts.keys().filter(|name| !reader.reached.contains(*name));
        reader.complaints.extend(orphans.map(|name| format!("{name}: no module leads there")));
        let Reader { mut names, code, complaints, .. } = reader;
        code.iter().for_each(|code| names.learn_methods(code));
        let modules = code.iter().map(|code| (names.files[&code.module].clone(), &code.module));
        let modules = modules.rev().map(|(file, module)| (file, module.clone())).collect();
        let mut graph = Self { complaints, modules, ..Self::default() };
        for Code { module, items } in &code {
            let mut walk = Walk {
                names: &names,
                graph: &mut graph,
                module,
                own: None,
                variables: BTreeMap::new(),
            };
            items.iter().for_each(|item| walk.visit_item(item));
        }
        graph
    }
}

/// Whether something is there only when tests are built: `cfg(test)`, and all of a test and more.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute.parse_args::<Meta>();
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && condition.is_ok_and(|condition| needs_test(&condition))
    })
}

fn needs_test(condition: &Meta) -> bool {
    let parts = || {
        let list = condition.require_list().ok()?;
        list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()
    };
    condition.path().is_ident("test")
        || condition.path().is_ident("all")
            && parts().is_some_and(|parts| parts.iter().any(needs_test))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Reads the files of a crate, module by module.
struct Reader<'a> {
    texts: &'a Texts,
    names: Names,
    code: Vec<Code>,
    reached: BTreeSet<String>,
    complaints: Vec<String>,
}

impl Reader<'_> {
    fn read_file(&mut self, module: Module, name: &str, in_test: bool) {
        self.reached.insert(name.to_owned());
        match syn::parse_file(&self.texts[name]) {
            Ok(file) if is_test(&file.attrs) => self.read(module, name, file.items, true),
            Ok(file) => self.read(module, name, file.items, in_test),
            Err(error) => self.complaints.push(format!("{name}: {error}")),
        }
    }

    fn read(&mut self, module: Module, file: &str, items: Vec<Item>, in_test: bool) {
        let mut kept = Vec::new();
        for item in items {
            let in_test = in_test || is_test(attributes(&item));
            match item {
                Item::Mod(inner) => {
                    let module = [module.clone(), vec![inner.ident.to_string()]].concat();
                    match inner.content {
                        Some((_, items)) => self.read(module, file, items, in_test),
                        None => self.read_child(module, file, in_test),
                    }
                }
                item if !in_test => kept.push(item),
                _ => {}
            }
        }
        if !in_test {
            self.names.files.insert(module.clone(), file.to_owned());
            self.names.learn(&module, &kept);
            self.code.push(Code { module, items: kept });
        }
    }

    /// The file of a module that is declared in `parent`.
    fn read_child(&mut self, module: Module, parent: &str, in_test: bool) {
        let name = module.last().cloned().unwrap_or_default();
        let (folder, stem) = parent.rsplit_once('/').unwrap_or(("", parent));
        let is_root = ["lib.rs", "main.rs", "mod.rs"].contains(&stem);
        let own = if is_root { String::new() } else { stem.trim_end_matches(".rs").to_owned() };
        let parts = [folder, &own].into_iter().filter(|part| !part.is_empty());
        let folder = parts.map(|part| format!("{part}/")).collect::<String>();
        let places = [format!("{folder}{name}.rs"), format!("{folder}{name}/mod.rs")];
        match places.iter().find(|place| self.texts.contains_key(*place)) {
            Some(place) => self.read_file(module, place, in_test),
            None => self.complaints.push(format!("{parent}: no file for the module {name}")),
        }
    }
}

/// Follows what the items of one module use.
struct Walk<'a> {
    names: &'a Names,
    graph: &'a mut Graph,
    module: &'a Module,
    /// The type that `self` has.
    own: Option<Place>,
    /// The types of parameters.
    variables: BTreeMap<String, Place>,
}

impl Walk<'_> {
    fn note(&mut self, path: &[String]) {
        if let Some(place) = self.names.find(self.module, path)
            && let Some(file) = self.names.files.get(&place.module)
        {
            self.note_file(file.clone(), path.join("::"));
        }
    }

    fn note_file(&mut self, file: String, by: String) {
        let own = self.names.files[self.module].clone();
        if own != file {
            self.graph.uses.entry((own, file)).or_insert(by);
        }
    }

    fn note_method(&mut self, of: &Place, name: &str) {
        if let Some(file) = self.names.methods.get(&(of.clone(), name.to_owned())) {
            self.note_file(file.clone(), format!("the method {name}"));
        }
    }

    /// The type of an expression, where it is written down.
    fn type_of(&self, expression: &Expr) -> Option<Place> {
        match expression {
            Expr::Path(path) if path.path.is_ident("self") => self.own.clone(),
            Expr::Path(path) => self.variables.get(&path.path.get_ident()?.to_string()).cloned(),
            Expr::Field(field) => {
                let base = self.type_of(&field.base)?;
                let name = match &field.member {
                    Member::Named(name) => name.to_string(),
                    Member::Unnamed(at) => at.index.to_string(),
                };
                let (module, path) = self.names.fields.get(&(base, name))?;
                self.names.find(module, path)
            }
            Expr::Reference(inner) => self.type_of(&inner.expr),
            Expr::Paren(inner) => self.type_of(&inner.expr),
            _ => None,
        }
    }

    /// The paths among the words of a macro.
    fn note_words(&mut self, words: TokenStream, before: &[String]) {
        let mut path = before.to_vec();
        let mut may_go_on = !before.is_empty();
        for word in words {
            match word {
                TokenTree::Ident(name) if may_go_on => {
                    path.push(name.to_string());
                    may_go_on = false;
                }
                TokenTree::Ident(name) => {
                    self.note_long(&path, before.len());
                    path = vec![name.to_string()];
                }
                TokenTree::Punct(sign) if sign.as_char() == ':' && !path.is_empty() => {
                    may_go_on = true;
                }
                TokenTree::Group(group) => {
                    let is_list = may_go_on && group.delimiter() == Delimiter::Brace;
                    let before = if is_list { path.clone() } else { Vec::new() };
                    self.note_words(group.stream(), &before);
                    self.note_long(&path, before.len());
                    (path, may_go_on) = (Vec::new(), false);
                }
                _ => {
                    self.note_long(&path, before.len());
                    path = before.to_vec();
                    may_go_on = !before.is_empty();
                }
            }
        }
        self.note_long(&path, before.len());
    }

    /// One word alone may be anything, and what is imported is noted where it is.
    fn note_long(&mut self, path: &[String], nr_before: usize) {
        if path.len() > nr_before.max(1) {
            self.note(path);
        }
    }

    fn note_variables<'b>(&mut self, inputs: impl Iterator<Item = &'b FnArg>) {
        self.variables.clear();
        for input in inputs {
            let FnArg::Typed(input) = input else { continue };
            let (Pat::Ident(name), Some(path)) = (&*input.pat, type_path(&input.ty)) else {
                continue;
            };
            if let Some(place) = self.names.find(self.module, &path) {
                self.variables.insert(name.ident.to_string(), place);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut paths = Vec::new();
        flatten(&item.tree, Vec::new(), &mut paths);
        paths.iter().for_each(|(path, _)| self.note(path));
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        if item.ident == "self" {
            let file = &self.names.files[self.module];
            self.graph.complaints.push(format!("{file}: the crate has a second name"));
        }
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        self.own = type_path(&block.self_ty).and_then(|path| self.names.find(self.module, &path));
        visit::visit_item_impl(self, block);
        self.own = None;
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note_variables(function.sig.inputs.iter());
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test(&function.attrs) {
            self.note_variables(function.sig.inputs.iter());
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if let Some(of) = self.type_of(&call.receiver) {
            self.note_method(&of, &call.method.to_string());
        }
        visit::visit_expr_method_call(self, call);
    }

    /// What is derived may be named by its path.
    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.note_words(list.tokens.clone(), &[]);
        visit::visit_meta_list(self, list);
    }

    /// `pub(crate)` and `pub(super)` use nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let path_segments = segments(path);
        match (&self.own.clone(), path_segments.as_slice()) {
            (Some(own), [first, method, ..]) if first == "Self" => {
                self.note_method(own, method);
            }
            _ => self.note(&path_segments),
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if call.path.is_ident("include") {
            let file = &self.names.files[self.module];
            self.graph.complaints.push(format!("{file}: what include! brings in is not read"));
        }
        self.note_words(call.tokens.clone(), &[]);
        visit::visit_macro(self, call);
    }
}
