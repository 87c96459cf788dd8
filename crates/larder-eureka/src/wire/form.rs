//! The forms in which lists are written, and a list part by part: what stands around and between its
//! applications and instances. Whoever keeps encoded instances puts a list together from the same parts
//! as [`Form::list`] does.

use larder_registry::model::Instance;

use super::{ApiVersion, Application, Applications, json, xml};

/// JSON or XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/xml`
    Xml,
}

/// A form of lists. Lists that are asked for in the same form are the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Netflix's `LegacyJacksonJson`.
    Json,
    /// Netflix's `JacksonJsonMini`: without metadata, lease, pages and overrides.
    CompactJson,
    /// Netflix's `XStreamXml`, the one form in which versions of the API differ.
    Xml(ApiVersion),
    /// Netflix's `JacksonXmlMini`.
    CompactXml,
}

/// What a list says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// `versions__delta`: 1 for everything, the revision for a delta, −1 for virtual addresses.
    pub version: i64,
    /// `apps__hashcode`.
    pub hash: String,
    /// Whether the list has no application, which the compact forms say.
    pub is_empty: bool,
}

impl Form {
    /// Every form that there is.
    pub const ALL: [Self; 5] = [
        Self::Json,
        Self::CompactJson,
        Self::Xml(ApiVersion::V1),
        Self::Xml(ApiVersion::V2),
        Self::CompactXml,
    ];

    /// Its language.
    pub const fn format(self) -> Format {
        match self {
            Self::Json | Self::CompactJson => Format::Json,
            Self::Xml(_) | Self::CompactXml => Format::Xml,
        }
    }

    /// A whole list.
    pub fn list(self, list: &Applications) -> Vec<u8> {
        let mut out = Vec::new();
        let heading = Heading {
            version: list.version,
            hash: list.hash.clone(),
            is_empty: list.apps.is_empty(),
        };
        self.open(&mut out, &heading);
        for (place, app) in list.apps.iter().enumerate() {
            if place > 0 {
                out.extend_from_slice(self.between());
            }
            self.write_app(&mut out, app);
        }
        self.close(&mut out, &heading);
        out
    }

    /// One application, as a document of its own.
    pub fn app(self, app: &Application) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Json | Self::CompactJson => {
                out.extend_from_slice(br#"{"application":"#);
                self.write_app(&mut out, app);
                out.push(b'}');
            }
            Self::Xml(version) => out = xml::application(app, version),
            Self::CompactXml => self.write_app(&mut out, app),
        }
        out
    }

    fn write_app(self, out: &mut Vec<u8>, app: &Application) {
        self.open_app(out, &app.name);
        for (place, instance) in app.instances.iter().enumerate() {
            if place > 0 {
                out.extend_from_slice(self.between());
            }
            self.instance(out, instance);
        }
        self.close_app(out);
    }

    /// Appends what comes before the applications.
    pub fn open(self, out: &mut Vec<u8>, heading: &Heading) {
        match self {
            Self::Json => json::open_list(out, heading),
            Self::CompactJson => json::compact::open_list(out),
            Self::Xml(_) => xml::open_list(out, heading),
            Self::CompactXml => xml::compact::open_list(out),
        }
    }

    /// Appends what comes after the applications.
    pub fn close(self, out: &mut Vec<u8>, heading: &Heading) {
        match self {
            Self::Json => json::close_list(out),
            Self::CompactJson => json::compact::close_list(out, heading),
            Self::Xml(_) => xml::close_list(out),
            Self::CompactXml => xml::compact::close_list(out, heading),
        }
    }

    /// What comes between two applications, and between two instances of one.
    pub const fn between(self) -> &'static [u8] {
        match self.format() {
            Format::Json => b",",
            Format::Xml => b"",
        }
    }

    /// Appends what comes before the instances of an application of this name.
    pub fn open_app(self, out: &mut Vec<u8>, name: &str) {
        match self {
            Self::Json | Self::CompactJson => json::open_app(out, name),
            Self::Xml(_) => xml::open_app(out, name),
            Self::CompactXml => xml::compact::open_app(out, name),
        }
    }

    /// Appends what comes after the instances of an application.
    pub fn close_app(self, out: &mut Vec<u8>) {
        match self {
            Self::Json | Self::CompactJson => json::close_app(out),
            Self::Xml(_) => xml::close_app(out),
            Self::CompactXml => xml::compact::close_app(out),
        }
    }

    /// Appends one instance, as it stands in a list.
    pub fn instance(self, out: &mut Vec<u8>, instance: &Instance) {
        match self {
            Self::Json => json::write_instance(out, instance),
            Self::CompactJson => json::compact::write_instance(out, instance),
            Self::Xml(version) => xml::write_listed(out, instance, version),
            Self::CompactXml => xml::compact::write_instance(out, instance),
        }
    }
}
