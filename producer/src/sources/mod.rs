//! Where events come from, besides the HTTP door.

pub mod files;
mod mapping;
mod reading;
mod settings;

pub use settings::{CollectSettings, ColumnSettings, ColumnType, Format};
