//! The place of attachments: a file is written there, and deleted.

use std::sync::Arc;

use uuid::Uuid;

use super::{Advice, CheckOutcome, RehearsalStage};
use crate::{
    config::{Config, FilePlace},
    files::Files,
};

/// Writes a file to this place.
pub async fn place(config: &Config, place: &FilePlace, stage: RehearsalStage<'_>) -> CheckOutcome {
    let about = CheckOutcome::well(place);
    let opened = match stage {
        RehearsalStage::Serving(site) => Ok(site.app.chat.files().cloned()),
        RehearsalStage::Before => {
            let opened = Files::open(&config.attachments).await;
            opened.map(|files| files.map(Arc::new))
        }
    };
    let files = match opened {
        Ok(files) => files,
        Err(error) => return about.with_faults([Advice::of(error)]),
    };
    // Without its table there is none, which the log has said.
    let Some(files) = files else { return about };
    let written = files.probe(Uuid::now_v7().into()).await;
    about.with_faults(written.err().map(Advice::of))
}
