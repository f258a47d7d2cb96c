//! What is said of writes: as kubectl says it, one line an object, and errors in a sentence.

use std::io::Write as _;

use anyhow::{Context, Result, anyhow, bail};
use kube::Resource;
use serde_json::{Value, json};
use slipway_api::names;
use slipway_client::call::CallError;

use crate::arguments::write::{DryRun, Write, WriteOutput};
use crate::output;
use crate::write::{Written, kind};

/// The API server's own sentence, without the library's dressing.
pub(crate) fn plain(error: CallError) -> anyhow::Error {
    match (&error, error.status()) {
        (CallError::Api { what, .. }, Some(status)) if !status.message.is_empty() => {
            anyhow!("failed to {what}: {}", status.message)
        }
        _ => error.into(),
    }
}

/// Everything that a verb wrote, and what went wrong.
pub(crate) struct Told<'a> {
    options: &'a Write,
    /// `approved`, or what else was done.
    word: &'a str,
    objects: Vec<Value>,
    failed: usize,
}

impl<'a> Told<'a> {
    pub(crate) fn new(options: &'a Write, word: &'a str) -> Self {
        Self {
            options,
            word,
            objects: Vec::new(),
            failed: 0,
        }
    }

    /// Says what became of one object. Others are gone on with, as kubectl does.
    pub(crate) fn one<K: Resource<DynamicType = ()>>(
        &mut self,
        name: &str,
        written: Result<Written>,
    ) -> Result<()> {
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                self.failed += 1;
                let text = crate::chain(&error);
                return Ok(writeln!(std::io::stderr(), "error: {text}")?);
            }
        };
        let name = format!("{}.{}/{name}", kind::<K>(), names::GROUP);
        match self.options.output {
            None => {
                let dry = match self.options.dry_run {
                    DryRun::None => "",
                    DryRun::Client => " (dry run)",
                    DryRun::Server => " (server dry run)",
                };
                let same = if written.changed { "" } else { " (no change)" };
                output::text(&format!("{name} {}{same}{dry}\n", self.word))
            }
            Some(WriteOutput::Name) => output::text(&format!("{name}\n")),
            Some(WriteOutput::Json | WriteOutput::Yaml) => {
                if !written.object.is_null() {
                    self.objects.push(written.object);
                }
                Ok(())
            }
        }
    }

    /// Prints objects where they were asked for, and fails where anything has failed.
    pub(crate) fn end(mut self) -> Result<()> {
        let all = match (self.objects.len(), self.objects.pop()) {
            (1, Some(only)) => Some(only),
            (0, _) | (_, None) => None,
            (_, Some(last)) => {
                self.objects.push(last);
                Some(json!({ "apiVersion": "v1", "kind": "List", "items": self.objects }))
            }
        };
        match (all, self.options.output) {
            (Some(all), Some(WriteOutput::Json)) => output::text(&output::json(&all)?)?,
            (Some(all), Some(WriteOutput::Yaml)) => output::text(&output::yaml(&all)?)?,
            _ => {}
        }
        if self.failed > 0 {
            return Err(crate::Said.into());
        }
        Ok(())
    }
}

/// One version speaks of one object.
pub(crate) fn one_version(options: &Write, objects: usize) -> Result<()> {
    if options.resource_version.is_some() && objects != 1 {
        bail!("--resource-version speaks of one object, and there are {objects}");
    }
    Ok(())
}

/// Says which rights a verb takes where the API server says that they are missing.
pub(crate) fn with_rights<T>(result: Result<T>, rights: &str) -> Result<T> {
    match result {
        Err(error) if is_forbidden(&error) => {
            Err(error).with_context(|| format!("you may not do this; it takes {rights}"))
        }
        other => other,
    }
}

/// By RBAC, or by admission for want of a verb: it refuses other things, too, and then says which.
fn is_forbidden(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let text = cause.to_string();
        text.contains(" is forbidden: ")
            && (text.contains(" cannot ") || text.contains(" takes the verb "))
    })
}
