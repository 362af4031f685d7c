//! The figure of a sweep: a panel for each kind of cost, a line for each level of fragmentation.
//!
//! The cutoffs stand on one axis in the order of the table, from the most vmalloc to none, so that
//! a line shows at a glance where it begins to matter.
//!
//! Nothing is computed here. The same numbers give the same bytes.

use crate::sweep::{COLUMNS, CUTOFFS, Column, Costs, Cutoff, LEVELS};
use plotters::coord::Shift;
use plotters::prelude::*;

/// The costs of all inputs: a row for each cutoff, a cell for each level.
pub(crate) type Grid = Vec<Vec<Costs>>;

const WIDTH: u32 = 980;
const PANEL_HEIGHT: u32 = 230;
const TITLE_HEIGHT: u32 = 44;

/// From light to dark as memory gets worse.
const COLOURS: [RGBColor; 5] = [
    RGBColor(120, 180, 220),
    RGBColor(60, 130, 190),
    RGBColor(120, 90, 160),
    RGBColor(190, 70, 100),
    RGBColor(150, 20, 30),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the figure.
pub(crate) fn draw(inputs: &str, grid: &Grid) -> Result<String, String> {
    let mut svg = String::new();
    let nr_rows = COLUMNS.len().div_ceil(2);
    let height = TITLE_HEIGHT + PANEL_HEIGHT * nr_rows as u32;
    let backend = SVGBackend::with_string(&mut svg, (WIDTH, height));
    draw_on(&backend.into_drawing_area(), inputs, grid, nr_rows)
        .map_err(|error| format!("the figure cannot be drawn: {error}"))?;
    Ok(svg)
}

fn draw_on(
    root: &Area<'_>,
    inputs: &str,
    grid: &Grid,
    nr_rows: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    root.fill(&WHITE)?;
    let title =
        format!("kvmalloc by cutoff: {inputs} ({} requests above a page)", grid[0][0].requests);
    root.draw_text(&title, &("sans-serif", 15).into_text_style(root), (12, 6))?;
    let (mut x, y) = (12, 26);
    let small = ("sans-serif", 12).into_text_style(root);
    root.draw_text("percent of free memory in single holes:", &small, (x, y))?;
    x += 230;
    for (level, colour) in LEVELS.iter().zip(COLOURS) {
        root.draw(&PathElement::new([(x, y + 7), (x + 22, y + 7)], colour.stroke_width(2)))?;
        root.draw_text(&format!("{level} %"), &small, (x + 27, y))?;
        x += 76;
    }
    let (_, below) = root.split_vertically(TITLE_HEIGHT);
    for (panel, column) in below.split_evenly((nr_rows, 2)).iter().zip(COLUMNS) {
        draw_panel(panel, column, grid)?;
    }
    root.present()?;
    Ok(())
}

fn draw_panel(
    panel: &Area<'_>,
    column: &Column,
    grid: &Grid,
) -> Result<(), Box<dyn std::error::Error>> {
    let values = grid.iter().flatten().filter_map(|costs| (column.of)(costs));
    let most = values.fold(1.0, f64::max);
    let last = CUTOFFS.len() - 1;
    let mut chart = ChartBuilder::on(panel)
        .caption(column.name, ("sans-serif", 13))
        .margin(8)
        .margin_right(26)
        .x_label_area_size(34)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..last as f64, 0.0..most * 1.08)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_labels(CUTOFFS.len())
        .x_label_formatter(&|x| tick(CUTOFFS[(x.round() as usize).min(last)]))
        .x_desc("at once above \u{2190} pages \u{2192} fallback above")
        .y_label_formatter(&|y| format!("{y:.0}"))
        .y_labels(5)
        .label_style(("sans-serif", 11))
        .draw()?;
    for (level, colour) in COLOURS.iter().enumerate().take(LEVELS.len()) {
        let points = grid
            .iter()
            .enumerate()
            .filter_map(|(place, row)| (column.of)(&row[level]).map(|value| (place as f64, value)));
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
    }
    Ok(())
}

fn tick(cutoff: Cutoff) -> String {
    match cutoff {
        Cutoff::FallbackAbove(1) => "Linux".to_owned(),
        Cutoff::AtOnceAbove(pages) | Cutoff::FallbackAbove(pages) => pages.to_string(),
        Cutoff::Never => "never".to_owned(),
    }
}
