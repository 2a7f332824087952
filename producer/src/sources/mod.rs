//! Where events come from, besides the HTTP door.

pub mod events;
pub mod files;
mod mapping;
mod reading;
pub mod reference;
mod settings;

pub use settings::{CollectSettings, ColumnSettings, ColumnType, Format};
