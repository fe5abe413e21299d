//! `dashproof doctor`: what is there, what is missing, and what to do about it.

use std::borrow::Cow;
use std::path::Path;

use serde_json::json;

use super::args::{DoctorArgs, Format};
use super::ui::{self, Tone, Ui};
use crate::exit;
use crate::lane::kafka::{self, Missing};
use crate::lane::mock;

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    here: bool,
    /// `make chaos` needs it.
    needed: bool,
    found: String,
    remedy: Cow<'static, str>,
}

pub(crate) fn doctor(ui: Ui, dir: Option<&Path>, args: &DoctorArgs) -> u8 {
    let findings = [
        sim(),
        wire(),
        tls(),
        scenarios(dir),
        docker(),
        gssapi(),
        disk(),
        files(),
        tmpfs(),
        mock(),
        external(),
    ];
    let well = findings.iter().all(|finding| finding.here || !finding.needed);
    if args.json || matches!(args.format, Format::Json) {
        let all: Vec<_> = findings.iter().map(as_json).collect();
        let report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "ok": well,
            "findings": all,
        });
        ui::print(&format!("{report:#}\n"));
    } else {
        ui::print(&human(ui, &findings, well));
    }
    if well { exit::PROVEN } else { exit::ENVIRONMENT }
}

fn as_json(finding: &Finding) -> serde_json::Value {
    json!({
        "what": finding.what,
        "here": finding.here,
        "needed": finding.needed,
        "found": finding.found,
        "remedy": if finding.here { "" } else { &*finding.remedy },
    })
}

fn human(ui: Ui, findings: &[Finding], well: bool) -> String {
    let mut out = format!("dashproof {}\n", env!("CARGO_PKG_VERSION"));
    for finding in findings {
        let (tone, word) = match (finding.here, finding.needed) {
            (true, _) => (Tone::Good, "ok     "),
            (false, true) => (Tone::Bad, "missing"),
            (false, false) => (Tone::Faint, "absent "),
        };
        out.push_str(&format!(
            "  {}  {:14} {}\n",
            ui.paint(tone, word),
            finding.what,
            finding.found
        ));
        if !finding.here {
            out.push_str(&format!("{:26}{}\n", "", finding.remedy));
        }
    }
    out.push_str(if well {
        "everything that `make chaos` needs is here\n"
    } else {
        "something that `make chaos` needs is missing\n"
    });
    out
}

fn sim() -> Finding {
    let here = cfg!(tokio_unstable);
    let found = if here {
        "built with --cfg tokio_unstable: runs replay byte for byte"
    } else {
        "built without --cfg tokio_unstable: runs would not replay"
    };
    Finding {
        what: "lane sim",
        here,
        needed: true,
        found: found.to_owned(),
        remedy: Cow::Borrowed(
            "build in the project's folder, where .cargo/config.toml sets the flag",
        ),
    }
}

fn mock() -> Finding {
    let looked = mock::look();
    Finding {
        what: "lane mock",
        here: looked.is_ok(),
        needed: true,
        found: looked.unwrap_or_else(|why| why),
        remedy: Cow::Borrowed("allow sockets on the loopback interface"),
    }
}

fn wire() -> Finding {
    let bound = std::net::TcpListener::bind(("127.0.0.1", 0));
    let exe = std::env::current_exe();
    let found = match (&bound, &exe) {
        (Ok(_), Ok(exe)) => format!("loopback works; subjects are {} driver", exe.display()),
        (Err(error), _) => format!("no socket on 127.0.0.1: {error}"),
        (_, Err(error)) => format!("this program cannot find itself: {error}"),
    };
    Finding {
        what: "lane wire",
        here: bound.is_ok() && exe.is_ok(),
        needed: true,
        found,
        remedy: Cow::Borrowed("allow sockets on the loopback interface"),
    }
}

fn tls() -> Finding {
    let here = cfg!(any(feature = "tls", feature = "tls-vendored"));
    let found = match (cfg!(feature = "tls-vendored"), here) {
        (true, _) => "TLS and SCRAM from a vendored OpenSSL",
        (false, true) => "TLS and SCRAM from the system's OpenSSL",
        (false, false) => "built without TLS: a config that asks for it is refused by name",
    };
    Finding {
        what: "tls",
        here,
        needed: false,
        found: found.to_owned(),
        remedy: Cow::Borrowed(
            "build with --features tls, or tls-vendored where OpenSSL's headers are missing",
        ),
    }
}

fn scenarios(dir: Option<&Path>) -> Finding {
    let library = super::library(dir);
    let found = match &library {
        Ok(library) => format!("{} scenarios", library.len()),
        Err(failure) => failure.message.lines().next().unwrap_or_default().to_owned(),
    };
    Finding {
        what: "scenarios",
        here: library.is_ok(),
        needed: true,
        found,
        remedy: Cow::Borrowed(
            "run in the project's folder, or name another with --scenarios; `dashproof check` \
                 tells what is broken",
        ),
    }
}

fn docker() -> Finding {
    let look = super::pool::runtime().map(|runtime| runtime.block_on(kafka::look()));
    let (here, found, remedy) = match look {
        Ok(Ok(docked)) => {
            (true, format!("Docker {}, image {}", docked.version, docked.image), String::new())
        }
        Ok(Err(Missing { what, remedy })) => (false, what, remedy),
        Err(error) => (false, error.message, String::new()),
    };
    Finding { what: "lane kafka", here, needed: false, found, remedy: remedy.into() }
}

fn gssapi() -> Finding {
    let (here, found, remedy) = match kafka::tools() {
        Ok(found) => (true, found, String::new()),
        Err(Missing { what, remedy }) => (false, what, remedy),
    };
    Finding { what: "gssapi", here, needed: false, found, remedy: remedy.into() }
}

fn disk() -> Finding {
    Finding {
        what: "lane disk",
        here: true,
        needed: true,
        found: "a simulated file system, virtual time".to_owned(),
        remedy: Cow::Borrowed(""),
    }
}

fn files() -> Finding {
    let dir = tempfile::Builder::new().prefix("dashproof-").tempdir();
    let found = match &dir {
        Ok(_) => format!("stores in directories below {}", std::env::temp_dir().display()),
        Err(error) => format!("no temporary directory: {error}"),
    };
    Finding {
        what: "lane files",
        here: dir.is_ok(),
        needed: true,
        found,
        remedy: Cow::Borrowed("give TMPDIR a directory that can be written to"),
    }
}

fn tmpfs() -> Finding {
    let mounted = crate::lane::files::can_be_mounted();
    let found = match &mounted {
        Ok(()) => "can be mounted: the lane files has a disk that can be full".to_owned(),
        Err(error) => format!("cannot be mounted: {error}"),
    };
    Finding {
        what: "tmpfs",
        here: mounted.is_ok(),
        needed: false,
        found,
        remedy: Cow::Borrowed(
            "full disks are not run on the lane files, and the report says so; run as root, or \
                 with CAP_SYS_ADMIN",
        ),
    }
}

fn external() -> Finding {
    let looked = super::absent::external_in_environment();
    let here = looked.is_ok();
    let (found, remedy) = match looked {
        Ok(found) => (found, String::new()),
        Err(Missing { what, remedy }) => (what, remedy),
    };
    Finding { what: "lane external", here, needed: false, found, remedy: remedy.into() }
}
