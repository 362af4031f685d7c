//! `kvroute live status`: whether the module is there and on, and what it has counted.

use super::module::Module;
use super::report::counted;
use crate::cli::Outcome;
use crate::cli::document::Document;
use std::path::Path;

#[derive(clap::Args)]
pub(super) struct Options {
    /// Print it as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn status(sys: &Path, document: &mut Document) -> Outcome {
    let module = Module::find(sys)?;
    let (plan, told) = (module.plan()?, module.told()?);
    let state = if plan.is_off() { "off" } else { "on" };
    let nr_held = told.counts.of("held");
    document.say(&format!(
        "kvroute is loaded and {state}\nplan: {plan}\n{}\nheld now: {nr_held}; callers seen: {}; \
         records lost, as others came: {}\n",
        counted(&told.counts),
        told.callers.len(),
        told.counts.of("lost"),
    ));
    document.put("on", !plan.is_off());
    document.put("plan", plan.to_string());
    document.put("stats", serde_json::json!(told.counts.all()));
    Ok(())
}
