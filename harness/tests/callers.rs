//! Callers: what the catalogue claims of each case, that the corrected twins are silent, and that a
//! trace is judged as a caller.

use kvroute_harness::caller::catalogue::{Case, cases};
use kvroute_harness::caller::gfp::GFP_KERNEL;
use kvroute_harness::caller::{Config, Finding, NoMemory, RULES, Rule, check_caller, explore};
use kvroute_harness::campaign;
use kvroute_harness::{Trace, check};

/// Asks every case.
#[track_caller]
fn ask(question: impl Fn(&Case) -> Result<(), String>) {
    let complaint = |case: &Case| question(case).err().map(|why| format!("{}: {why}", case.name));
    let complaints: Vec<String> = cases().filter_map(complaint).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

#[test]
fn every_assumption_is_found_as_the_catalogue_says() {
    ask(|case| {
        let found = |config| explore(&config, case.wrong).err().ok_or("it is not found");
        let finding: Box<Finding> = found(Config::new())?;
        if (finding.misuse.rule, finding.phase) != (case.rule, case.phase) {
            return Err(format!("it should be {:?}, by {:?}\n{finding}", case.rule, case.phase));
        }
        let again = found(Config::new().plan(&finding.plan.to_string()))?;
        match again.misuse.is_like(&finding.misuse) {
            true => Ok(()),
            false => Err(format!("its plan shows another\n{finding}\n{again}")),
        }
    });
}

#[test]
fn every_twin_is_silent() {
    ask(|case| match explore(&Config::new(), case.right) {
        // What may fail was failed.
        Ok(explored) if explored.nr_refused > 0 || case.rule == Rule::Panic => Ok(()),
        Ok(explored) => Err(format!("{explored:?}")),
        Err(finding) => Err(format!("it is not silent\n{finding}")),
    });
}

/// What is objected to in a trace that is a caller: the lane, and the reason.
fn objection(text: &str) -> Option<(&'static str, String)> {
    let campaign = campaign::by_name("callers").expect("it is there");
    let trace = Trace::parse(text).expect("a trace");
    let failure = check(campaign, &trace).err()?;
    assert_eq!(failure.oracle, "caller", "{failure}");
    Some((failure.lane.expect("one lane"), failure.reason))
}

#[test]
fn a_trace_is_judged_as_a_caller() {
    let kv = "r0 = kvmalloc(0x3000, GFP_KERNEL)\n";
    for (rest, lane, rule) in [
        ("kfree(r0)", "always-vmalloc", "wrong-free: kfree"),
        ("vfree(r0)", "policy", "wrong-free: vfree"),
        ("kvfree(r0)\nkvfree(r0)", "policy", "double-free"),
        ("kvfree(r0) (context: atomic)", "always-vmalloc", "context"),
        ("virt_to_page(r0)\nkvfree(r0)", "always-vmalloc", "wrong-conversion"),
        ("write(r0, 0x3000, 0x1)\nkvfree(r0)", "policy", "out-of-bounds"),
        ("kvfree(r0)\nwrite(r0, 0x0, 0x1)", "policy", "no-address"),
        ("", "policy", "leak: memory is not freed"),
        ("r0 = kmalloc(0x8, GFP_KERNEL)\nkfree(r0)", "policy", "leak"),
        ("kvfree(r0)\nkmalloc(0x8, GFP_KERNEL)", "policy", "leak"),
        ("kvfree(r0)\nc0 = kmem_cache_create(0x40, 0x8)", "policy", "leak: a cache"),
        ("kvfree(r0)\nvmalloc(0x0)", "policy", "warning"),
        ("kvfree(r0)\nmemalloc_nofs_restore()", "policy", "open-scope"),
    ] {
        let (objected, reason) = objection(&format!("{kv}{rest}\n")).expect(rest);
        assert_eq!(objected, lane, "{rest}: {reason}");
        assert!(reason.starts_with(rule), "{rest}: {reason}");
    }
    let right = "kvfree(r0)\nr0 = kmalloc(0x40, GFP_KERNEL)\nwrite(r0, 0x0, 0x40)\nkfree(r0)\n\
                 c0 = kmem_cache_create(0x40, 0x8)\nr1 = kmem_cache_alloc(c0, GFP_KERNEL)\n\
                 kmem_cache_free(c0, r1)\nkmem_cache_destroy(c0)\nkfree(NULL)\n\
                 r2 = kmalloc(0x40, GFP_KERNEL) (fail_nth: 1)\nkfree(r2)\n";
    assert_eq!(objection(&format!("{kv}{right}")), None);
}

/// A document, and the part of it that a command or a table must make.
fn part<'a>(document: &'a str, mark: &str) -> &'a str {
    let (_, after) = document.split_once(&format!("<!-- ={mark} -->\n")).expect(mark);
    after.split("\n\n").find(|part| !part.is_empty()).expect(mark)
}

const GUIDE: &str = include_str!("../../docs/your-caller.md");

#[test]
fn the_guide_has_the_rules() {
    let rows = RULES.iter().map(|(_, name, sentence)| format!("\n| `{name}` | {sentence} |"));
    let table = "| rule | what it asks of a caller |\n|---|---|".to_owned();
    let table = rows.fold(table, |table, row| table + &row);
    assert_eq!(part(GUIDE, "rules"), table, "docs/your-caller.md should have\n{table}\n");
}

#[test]
fn the_guide_has_the_catalogue() {
    let mut table =
        "| assumption | where real code made it | found by | decisions | only by routing |\n\
                     |---|---|---|---|---|"
            .to_owned();
    let (mut nr_only, mut nr) = (0, 0);
    for case in cases() {
        let finding = explore(&Config::new(), case.wrong).expect_err(case.name);
        let is_only = explore(&Config::new().by_policy(), case.wrong).is_ok();
        let (by, decisions) = (finding.phase.name(), finding.nr_decisions());
        let only = if is_only { "yes" } else { "" };
        table += &format!("\n| {} | {} | {by} | {decisions} | {only} |", case.name, case.source);
        (nr_only, nr) = (nr_only + u32::from(is_only), nr + 1);
    }
    table += &format!("\n| all {nr} are found | | | | {nr_only} |");
    assert_eq!(part(GUIDE, "catalogue"), table, "docs/your-caller.md should have\n{table}\n");
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&format!("in {nr} small callers")), "README: {nr} callers");
    assert!(readme.contains(&format!("all of them, {nr_only} only because of")), "{nr_only}");
}

#[test]
fn the_guide_has_the_report_of_a_trace() {
    let trace = Trace::parse("r0 = kvmalloc(0x3000, GFP_KERNEL)\nkfree(r0)\n").expect("a trace");
    let report = check_caller(&trace).expect_err("a wrong free").to_string();
    let (_, shown) = GUIDE.split_once("<!-- =trace-report -->\n```text\n").expect("a report");
    assert!(
        shown.starts_with(&format!("{report}```")),
        "docs/your-caller.md should have\n{report}"
    );
}

#[test]
fn the_guide_has_the_report() {
    let finding = explore(&Config::new(), |kv| {
        let table = kv.kvzalloc(0x1800, GFP_KERNEL)?;
        table.at(0x100).store(7);
        let seen = table.at(0x100).load();
        kv.kfree(table);
        Ok::<_, NoMemory>(seen)
    });
    let report = finding.expect_err("a wrong free").to_string();
    let (_, shown) = GUIDE.split_once("<!-- =report -->\n```text\n").expect("a report");
    let (shown, _) = shown.split_once("\n```").expect("an end");
    // The places are those of the reader's own file.
    let is_place = |line: &&str| line.starts_with("  at:") || line.starts_with("  asked:");
    let lines = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !is_place(line)).map(str::to_owned).collect()
    };
    assert_eq!(lines(shown), lines(&report), "docs/your-caller.md should have\n{report}\n");
}

#[test]
fn what_a_caller_may_not_do_is_objected_to_on_every_route() {
    for (text, rule) in [
        // There is no slack behind any of these.
        ("r0 = kmalloc(0x100, GFP_KERNEL)\nwrite(r0, 0x100, 1)\nkfree(r0)", "out-of-bounds"),
        ("r0 = vmalloc(0x1000)\nwrite(r0, 0xfff, 2)\nvfree(r0)", "out-of-bounds"),
        ("r0 = alloc_pages(GFP_KERNEL, 0)\nwrite(r0, 0x1000, 8)\n__free_pages(r0, 0)", "out-of-b"),
        ("memalloc_noio_save()", "open-scope: a scope is not left: memalloc_noio_restore()"),
        ("c0 = kmem_cache_create(8, 0)\nkmem_cache_destroy(c0)\nkmem_cache_destroy(c0)", "use-aft"),
        ("r0 = alloc_pages(GFP_KERNEL|__GFP_NOFAIL, 2)\n__free_pages(r0, 2)", "warning: __GFP_NOF"),
        ("r0 = vmalloc(8) (context: hardirq)", "context: vmalloc(0x8) may sleep, in an interrupt"),
        (
            "r0 = kmalloc(8, GFP_ATOMIC) (context: nmi)",
            "context: kmalloc(0x8, GFP_ATOMIC) in a non-",
        ),
    ] {
        let (_, reason) = objection(text).unwrap_or_else(|| panic!("{text}: no objection"));
        assert!(reason.starts_with(rule), "{text}: {reason}");
    }
}

#[test]
fn what_depends_on_the_version_is_judged_by_it() {
    let nolock = "r0 = kmalloc_nolock(8, 0, NUMA_NO_NODE)\nkfree(r0)";
    let block = "r0 = alloc_pages(GFP_KERNEL|__GFP_NOFAIL, 2)\n__free_pages(r0, 2)";
    for (text, policy, is_wrong) in [
        (nolock, "v6.19", true),
        (nolock, "latest", false),
        (block, "v6.1", true),
        // It stays where it is, and takes no page.
        (
            "r0 = kmalloc(0x4000, GFP_KERNEL)\nr0 = krealloc(r0, 8, GFP_KERNEL|__GFP_NOFAIL)\nkfree(r0)",
            "v6.1",
            false,
        ),
        (block, "v6.12", false),
    ] {
        let text = format!("machine (policy: {policy})\n{text}");
        assert_eq!(objection(&text).is_some(), is_wrong, "{text}");
    }
}

#[test]
fn a_finding_that_needs_the_boldest_route_says_so() {
    for (size, is_bold) in [(0x1000, true), (0x1001, false)] {
        let text = format!("r0 = kvmalloc({size}, GFP_KERNEL)\nkfree(r0)");
        let (_, reason) = objection(&text).expect("a wrong free");
        assert_eq!(reason.contains("which no Linux of today maps"), is_bold, "{reason}");
    }
}

/// A cache that could not be made is none, whatever its register held before.
#[test]
fn a_cache_that_is_not_made_may_be_destroyed() {
    let once = "c0 = kmem_cache_create(8, 0)\nkmem_cache_destroy(c0)\n";
    let failed = "c0 = kmem_cache_create(8, 0) (fail_nth: 1)\nkmem_cache_destroy(c0)\n";
    for text in [failed.to_owned(), format!("{once}{failed}"), format!("{failed}{once}")] {
        assert_eq!(objection(&text), None, "{text}");
    }
}
