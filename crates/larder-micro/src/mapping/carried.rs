//! What an instance has that go-micro knows nothing of, as one pair of metadata.

use std::collections::BTreeMap;

use larder_registry::model::{Action, Instance, Status};
use serde::{Deserialize, Serialize};

use super::address;
use super::forms::{
    AddressForm, CheckForm, DataCenterForm, LeaseForm, MeshForm, NodeForm, PagesForm, VipsForm,
    WeightsForm, is_default, words,
};
use super::record::Pairs;

/// The metadata pair in which Larder keeps what go-micro has no field for: a JSON object that names
/// only what differs from an instance that go-micro registered. Metadata of the user's own by this
/// name are kept inside of it.
pub const CARRIED: &str = "larder.instance";

/// The object's fields. Those that this version does not know are skipped; a word that it does not
/// know makes the pair metadata like any other.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Carried {
    #[serde(with = "words::status", skip_serializing_if = "is_default")]
    status: Option<Status>,
    #[serde(rename = "override", with = "words::status", skip_serializing_if = "is_default")]
    status_override: Option<Status>,
    #[serde(skip_serializing_if = "is_default")]
    address: Option<AddressForm>,
    #[serde(skip_serializing_if = "is_default")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    vips: VipsForm,
    #[serde(skip_serializing_if = "is_default")]
    lease: Option<LeaseForm>,
    #[serde(skip_serializing_if = "is_default")]
    pages: Option<PagesForm>,
    #[serde(skip_serializing_if = "is_default")]
    data_center: Option<DataCenterForm>,
    #[serde(skip_serializing_if = "is_default")]
    node: Option<NodeForm>,
    #[serde(skip_serializing_if = "is_default")]
    mesh: Option<Box<MeshForm>>,
    #[serde(skip_serializing_if = "is_default")]
    checks: Vec<CheckForm>,
    #[serde(skip_serializing_if = "is_default")]
    weights: Option<WeightsForm>,
    #[serde(skip_serializing_if = "is_default")]
    group: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    asg: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    sid: Option<String>,
    /// None for 1.
    #[serde(skip_serializing_if = "is_default")]
    country_id: Option<i32>,
    #[serde(skip_serializing_if = "is_default")]
    is_coordinator: bool,
    #[serde(skip_serializing_if = "is_default")]
    id_is_derived: bool,
    #[serde(skip_serializing_if = "is_default")]
    updated_at: u64,
    #[serde(skip_serializing_if = "is_default")]
    dirty_at: u64,
    #[serde(with = "words::action", skip_serializing_if = "is_default")]
    action: Option<Action>,
    /// What the service says, where the record has no room for it.
    #[serde(skip_serializing_if = "is_default")]
    service_metadata: Pairs,
    /// Whether the version in the record only stands for none.
    #[serde(skip_serializing_if = "is_default")]
    unversioned: bool,
    /// The user's own metadata that the pair hides.
    #[serde(skip_serializing_if = "is_default")]
    metadata: BTreeMap<String, String>,
}

impl Carried {
    /// What the record of `instance`, with its address written as `text`, does not say.
    pub(super) fn of(instance: &Instance, text: &str, shadowed: Option<String>) -> Self {
        let said = address::split(text);
        Self {
            status: (instance.status != Status::Up).then_some(instance.status),
            status_override: instance.status_override,
            address: (said != instance.address).then(|| AddressForm::from(&instance.address)),
            tags: instance.tags.clone(),
            vips: VipsForm::from(&instance.vips),
            lease: instance.lease.map(LeaseForm::from),
            pages: instance.pages.as_deref().map(PagesForm::from),
            data_center: instance.data_center.as_deref().map(DataCenterForm::from),
            node: instance.node.as_deref().map(NodeForm::from),
            mesh: instance.mesh.as_deref().map(|mesh| Box::new(MeshForm::from(mesh))),
            checks: instance.checks.iter().map(CheckForm::from).collect(),
            weights: instance.weights.map(WeightsForm::from),
            group: instance.group.clone(),
            asg: instance.asg.clone(),
            sid: instance.sid.clone(),
            country_id: (instance.country_id != 1).then_some(instance.country_id),
            is_coordinator: instance.is_coordinator,
            id_is_derived: instance.id_is_derived,
            updated_at: instance.updated_at,
            dirty_at: instance.dirty_at,
            action: instance.action,
            service_metadata: Pairs::default(),
            unversioned: false,
            metadata: shadowed.map(|value| (CARRIED.to_owned(), value)).into_iter().collect(),
        }
    }

    /// As well, what a TXT record has no room for: what the service says, and that it has no version.
    pub(super) fn with_service(self, instance: &Instance) -> Self {
        let service_metadata = Pairs(instance.service_metadata.clone());
        Self { service_metadata, unversioned: instance.version.is_empty(), ..self }
    }

    /// None if there is nothing to carry.
    pub(super) fn to_text(&self) -> Option<String> {
        (*self != Self::default()).then(|| {
            serde_json::to_string(self).expect("numbers, strings and maps of them are JSON")
        })
    }

    /// None if the text is not Larder's: it is no object, or one that says nothing, which Larder never
    /// writes.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let carried = text.starts_with('{').then(|| serde_json::from_str(text).ok())??;
        (carried != Self::default()).then_some(carried)
    }

    pub(super) fn take_shadowed(&mut self) -> Option<String> {
        self.metadata.remove(CARRIED)
    }

    /// Gives an instance, as read from go-micro's fields, the rest.
    pub(super) fn put_into(self, instance: &mut Instance) {
        instance.status = self.status.unwrap_or(Status::Up);
        instance.status_override = self.status_override;
        if let Some(address) = self.address {
            instance.address = address.into();
        }
        instance.tags = self.tags;
        instance.vips = self.vips.into();
        instance.lease = self.lease.map(Into::into);
        instance.pages = self.pages.map(|pages| Box::new(pages.into()));
        instance.data_center = self.data_center.map(|data_center| Box::new(data_center.into()));
        instance.node = self.node.map(|node| Box::new(node.into()));
        instance.mesh = self.mesh.map(|mesh| Box::new((*mesh).into()));
        instance.checks = self.checks.into_iter().map(Into::into).collect();
        instance.weights = self.weights.map(Into::into);
        instance.group = self.group;
        instance.asg = self.asg;
        instance.sid = self.sid;
        instance.country_id = self.country_id.unwrap_or(1);
        instance.is_coordinator = self.is_coordinator;
        instance.id_is_derived = self.id_is_derived;
        instance.updated_at = self.updated_at;
        instance.dirty_at = self.dirty_at;
        instance.action = self.action;
        if !self.service_metadata.0.is_empty() {
            instance.service_metadata = self.service_metadata.0;
        }
        if self.unversioned {
            instance.version.clear();
        }
    }
}
