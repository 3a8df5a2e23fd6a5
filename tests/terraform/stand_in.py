"""A provider that knows the schema of hashicorp/aws and nothing else, for machines that reach no registry of providers.

It serves Terraform's plugin protocol 6 from a thread of this process, and Terraform is pointed at it by
``TF_REATTACH_PROVIDERS``. Terraform itself checks names, types, blocks and references against the schema; what a real
provider checks beyond that (values, arguments that exclude each other, what AWS answers) is not checked here. An apply
makes nothing: it makes up what AWS would have answered, so that a second plan can be looked at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import msgpack
from tf.gen import tfplugin_pb2 as protocol
from tf.gen import tfplugin_pb2_grpc as service

ADDRESS = "registry.terraform.io/hashicorp/aws"
SCHEMA = Path(__file__).with_name("aws_provider_schema.json")
ACCOUNT = "123456789012"
KNOWN = {"account_id": ACCOUNT, "partition": "aws", "region": "ap-northeast-1"}
"""What is made up by the name of an attribute; everything else by its type."""

Block = Mapping[str, Any]
Values = dict[str, Any]


class _Unknown:
    """A value that is only known after the apply."""

    def __repr__(self) -> str:
        return "(known after apply)"


UNKNOWN = _Unknown()


def decoded(value: protocol.DynamicValue) -> Values | None:
    """Terraform's values; numbers 0 and 12 of msgpack's extensions are the unknown, plain and with refinements."""
    values: Values | None = msgpack.unpackb(value.msgpack, raw=False, ext_hook=lambda *_: UNKNOWN, strict_map_key=False)
    return values


def encoded(values: Values | None) -> protocol.DynamicValue:
    def unknown(value: object) -> msgpack.ExtType:
        assert value is UNKNOWN
        return msgpack.ExtType(0, b"\0")

    return protocol.DynamicValue(msgpack=msgpack.packb(values, default=unknown))


def schema_of(told: Mapping[str, Any]) -> protocol.Schema:
    """One schema as ``terraform providers schema -json`` tells it, as the protocol does."""
    return protocol.Schema(version=told["version"], block=_block(told["block"]))


def _block(told: Block) -> protocol.Schema.Block:
    return protocol.Schema.Block(
        attributes=[_attribute(name, one) for name, one in told.get("attributes", {}).items()],
        block_types=[
            protocol.Schema.NestedBlock(
                type_name=name,
                block=_block(one["block"]),
                nesting=one["nesting_mode"].upper(),
                min_items=one.get("min_items", 0),
                max_items=one.get("max_items", 0),
            )
            for name, one in told.get("block_types", {}).items()
        ],
    )


def _attribute(name: str, told: Mapping[str, Any]) -> protocol.Schema.Attribute:
    flags = {flag: told.get(flag, False) for flag in ("required", "optional", "computed", "sensitive")}
    attribute = protocol.Schema.Attribute(name=name, type=json.dumps(told["type"]).encode(), **flags)
    if told.get("write_only"):
        # Field 11 of the protocol, which these messages are too old for; an unknown field is handed on as it is.
        attribute = protocol.Schema.Attribute.FromString(attribute.SerializeToString() + b"\x58\x01")
    return attribute


def _nested(block: Block, values: Values) -> Iterator[tuple[Block, str, Values]]:
    """Every nested block that is there: its schema, its name, its values."""
    for name, one in block.get("block_types", {}).items():
        there = values.get(name) or []
        for element in [there] if isinstance(there, dict) else there if isinstance(there, list) else []:
            yield one["block"], name, element


def answers_configured(block: Block, config: Values) -> Iterator[str]:
    """Names of attributes that the configuration sets and only the provider may; Terraform leaves that to providers."""
    for name, one in block["attributes"].items():
        if config.get(name) is not None and not (one.get("optional") or one.get("required")):
            yield name
    for inner, name, element in _nested(block, config):
        yield from (f"{name}.{one}" for one in answers_configured(inner, element))


def planned(block: Block, values: Values) -> Values:
    """A new resource: what the provider will answer is not known yet."""
    result = dict(values)
    for name, one in block["attributes"].items():
        if one.get("computed") and result.get(name) is None:
            result[name] = UNKNOWN
    for inner, name, element in _nested(block, values):
        _put(result, name, element, planned(inner, element))
    return result


def made_up(block: Block, values: Values, title: str) -> Values:
    """The same resource with an answer in place of everything that was not known."""
    result = {
        name: _answer(name, block["attributes"][name]["type"], title) if value is UNKNOWN else value
        for name, value in values.items()
    }
    for inner, name, element in _nested(block, values):
        _put(result, name, element, made_up(inner, element, title))
    return result


def _put(result: Values, name: str, old: Values, new: Values) -> None:
    there = result[name]
    result[name] = new if isinstance(there, dict) else [new if one is old else one for one in there]


def _answer(name: str, kind: Any, title: str) -> Any:
    match kind:
        case "string":
            if name == "arn" or name.endswith("_arn"):
                return f"arn:aws:standin:ap-northeast-1:{ACCOUNT}:{title}"
            return KNOWN.get(name, f"{title}-{name}")
        case "number":
            return 0
        case "bool":
            return False
        case ["list", ["object", fields]]:
            return [{field: _answer(field, one, title) for field, one in fields.items()}]
        case ["map", _]:
            return {}
        case _:
            return []


class StandIn(service.ProviderServicer):
    """Answers Terraform. Each resource that is made gets a number of its own, so that none is taken for another."""

    def __init__(self) -> None:
        told = json.loads(SCHEMA.read_text(encoding="utf-8"))["provider_schemas"][ADDRESS]
        self.provider = told["provider"]
        self.resources = told["resource_schemas"]
        self.data_sources = told["data_source_schemas"]
        self.numbers = count(1)

    def GetMetadata(self, request: Any, context: Any) -> Any:
        return protocol.GetMetadata.Response(
            resources=[protocol.GetMetadata.ResourceMetadata(type_name=name) for name in self.resources],
            data_sources=[protocol.GetMetadata.DataSourceMetadata(type_name=name) for name in self.data_sources],
        )

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        return protocol.GetProviderSchema.Response(
            provider=schema_of(self.provider),
            resource_schemas={name: schema_of(one) for name, one in self.resources.items()},
            data_source_schemas={name: schema_of(one) for name, one in self.data_sources.items()},
        )

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:
        return protocol.ValidateProviderConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        return protocol.ConfigureProvider.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        block = self.resources[request.type_name]["block"]
        return protocol.ValidateResourceConfig.Response(diagnostics=_refused(block, decoded(request.config)))

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:
        block = self.data_sources[request.type_name]["block"]
        return protocol.ValidateDataResourceConfig.Response(diagnostics=_refused(block, decoded(request.config)))

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        return protocol.UpgradeResourceState.Response(upgraded_state=protocol.DynamicValue(json=request.raw_state.json))

    def ReadResource(self, request: Any, context: Any) -> Any:
        return protocol.ReadResource.Response(new_state=request.current_state, private=request.private)

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        values = decoded(request.proposed_new_state)
        if values is not None and decoded(request.prior_state) is None:
            values = planned(self.resources[request.type_name]["block"], values)
        return protocol.PlanResourceChange.Response(planned_state=encoded(values), legacy_type_system=True)

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        values = decoded(request.planned_state)
        if values is not None:
            title = f"{request.type_name}-{next(self.numbers)}"
            values = made_up(self.resources[request.type_name]["block"], values, title)
        return protocol.ApplyResourceChange.Response(new_state=encoded(values), legacy_type_system=True)

    def ReadDataSource(self, request: Any, context: Any) -> Any:
        block = self.data_sources[request.type_name]["block"]
        config = decoded(request.config)
        assert config is not None
        return protocol.ReadDataSource.Response(
            state=encoded(made_up(block, planned(block, config), request.type_name))
        )

    def StopProvider(self, request: Any, context: Any) -> Any:
        return protocol.StopProvider.Response()


def _refused(block: Block, config: Values | None) -> list[protocol.Diagnostic]:
    return [
        protocol.Diagnostic(severity="ERROR", summary="Value for a computed attribute", detail=f"{name} is an answer")
        for name in answers_configured(block, config or {})
    ]


@contextmanager
def serving() -> Iterator[dict[str, str]]:
    """Serves on a free port of 127.0.0.1; gives the environment variables that point Terraform at it."""
    server = grpc.server(ThreadPoolExecutor(4))
    service.add_ProviderServicer_to_server(StandIn(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    told = {
        "Protocol": "grpc",
        "ProtocolVersion": 6,
        "Pid": os.getpid(),
        "Test": True,  # Terraform leaves a provider under test running
        "Addr": {"Network": "tcp", "String": f"127.0.0.1:{port}"},
    }
    try:
        yield {"TF_REATTACH_PROVIDERS": json.dumps({ADDRESS: told})}
    finally:
        server.stop(None).wait()
