//! PATCH of every kind: preconditions, what changes nothing, and what may not change.

use serde_json::{Value, json};

use crate::basics::Subject;
use crate::conversation::{Conversation, get, merge, strategic, talk};

pub(crate) fn of(s: &Subject) -> Vec<Conversation> {
    let w = s.word;
    let label = |metadata: Value| {
        let mut metadata = metadata;
        metadata["labels"] = json!({"more": "yes"});
        merge(s.one(), json!({ "metadata": metadata }))
    };
    let current = json!({"resourceVersion": "${0/metadata/resourceVersion}"});
    vec![
        talk(
            format!("{w}: patched"),
            vec![s.make(), label(json!({})), get(s.one())],
        ),
        talk(
            format!("{w}: a missing one is patched"),
            vec![label(json!({}))],
        ),
        talk(
            format!("{w}: patched by its version"),
            vec![s.make(), label(current.clone())],
        ),
        talk(
            format!("{w}: patched from an old version"),
            vec![
                s.make(),
                label(current.clone()),
                merge(
                    s.one(),
                    json!({"metadata": {"resourceVersion": "${0/metadata/resourceVersion}", "labels": {"third": "x"}}}),
                ),
            ],
        ),
        talk(
            format!("{w}: an old version is refused though nothing would change"),
            vec![s.make(), label(json!({})), label(current)],
        ),
        talk(
            format!("{w}: a patch that changes nothing keeps the version"),
            vec![
                s.make(),
                merge(s.one(), json!({"metadata": {"labels": {"talk": "$X"}}})),
                merge(s.one(), json!({})),
            ],
        ),
        talk(
            format!("{w}: patched with another uid"),
            vec![s.make(), label(json!({"uid": "other"}))],
        ),
        talk(
            format!("{w}: patched by version and uid"),
            vec![
                s.make(),
                label(
                    json!({"uid": "${0/metadata/uid}", "resourceVersion": "${0/metadata/resourceVersion}"}),
                ),
            ],
        ),
        talk(
            format!("{w}: patched under another name"),
            vec![s.make(), label(json!({"name": "other"}))],
        ),
        talk(
            format!("{w}: a null removes"),
            vec![
                s.make(),
                label(json!({})),
                merge(
                    s.one(),
                    json!({"metadata": {"labels": {"more": null, "never": null}}}),
                ),
            ],
        ),
        talk(
            format!("{w}: strategic patch of a label"),
            vec![
                s.make(),
                strategic(s.one(), json!({"metadata": {"labels": {"more": "yes"}}})),
            ],
        ),
        talk(
            format!("{w}: generation counts changes of the spec alone"),
            vec![
                s.make(),
                merge(s.one(), s.change.clone()),
                merge(s.one(), json!({"metadata": {"labels": {"n": "1"}}})),
            ],
        ),
        talk(
            format!("{w}: patched for the sake of trying"),
            vec![
                s.make(),
                merge(
                    format!("{}?dryRun=All", s.one()),
                    json!({"metadata": {"labels": {"n": "1"}}}),
                ),
                get(s.one()),
            ],
        ),
    ]
}
