"""Where the packed item table's values come from: the item views of the Feast service, out of the offline store."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
from feast.feature_view_projection import FeatureViewProjection
from feast.infra.provider import get_provider

from feature_repo.groups import ITEM_SERVICE
from feature_repo.packed import PackedItems, PackedView
from feature_repo.schema import BEGINNING, ITEM_ID
from feature_repo.store import Features


def packed_views(features: Features) -> list[PackedView]:
    """What is packed: the numbers and texts of the service `items_v1`, in its order.

    Raises:
        NotMaterializedError: Feast does not know the service yet.
    """
    return [_view(features, projection) for projection in features.service(ITEM_SERVICE).feature_view_projections]


def pack(features: Features, moment: datetime) -> PackedItems:
    """Everything about items as the offline store knows it at `moment`: the values that a point-in-time join gives,
    and those that are online once the snapshots up to `moment` are materialised.

    Raises:
        NotMaterializedError: Feast does not know the service yet.
    """
    views = packed_views(features)
    tables = {view.name: newest_rows(features, view, moment) for view in views}
    return PackedItems.empty(views).updated(moment, tables)


def _view(features: Features, projection: FeatureViewProjection) -> PackedView:
    fields = {feature.name: feature.dtype for feature in projection.features}
    return PackedView.of(projection.name, fields, features.feast.get_feature_view(projection.name).ttl)


def newest_rows(features: Features, view: PackedView, moment: datetime) -> pa.Table:
    """A view's newest row of every item, not later than `moment`: `item_id`, `event_timestamp` and what is packed."""
    source = features.feast.get_feature_view(view.name).batch_source
    job = get_provider(features.feast.config).offline_store.pull_latest_from_table_or_query(
        config=features.feast.config,
        data_source=source,
        join_key_columns=[ITEM_ID],
        feature_name_columns=[*view.numbers, *view.texts],
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column or None,
        start_date=BEGINNING,
        end_date=moment,
    )
    return job.to_arrow()
