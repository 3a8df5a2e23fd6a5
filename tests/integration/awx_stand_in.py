"""As much of AWX's API as `awx import` asks: it keeps what it is sent, and links one thing with another by its id."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

# Of each list: the type of its things, and which of their fields name another thing.
LISTS: dict[str, tuple[str, dict[str, str]]] = {
    "organizations": ("organization", {}),
    "projects": ("project", {"organization": "organizations"}),
    "execution_environments": ("execution_environment", {}),
    "inventories": ("inventory", {"organization": "organizations"}),
    "inventory_sources": (
        "inventory_source",
        {"organization": "organizations", "inventory": "inventories", "source_project": "projects"},
    ),
    "job_templates": (
        "job_template",
        {
            "organization": "organizations",
            "inventory": "inventories",
            "project": "projects",
            "execution_environment": "execution_environments",
        },
    ),
    "workflow_job_templates": ("workflow_job_template", {"organization": "organizations"}),
    "workflow_job_template_nodes": (
        "workflow_job_template_node",
        {"workflow_job_template": "workflow_job_templates", "unified_job_template": "job_templates"},
    ),
}
EMPTY = (
    *("users", "teams", "credential_types", "credentials", "notification_templates", "applications", "schedules"),
    *("workflow_approval_templates", "system_job_templates", "unified_job_templates", "inventory_updates", "roles"),
    *("groups", "hosts", "labels", "project_updates", "jobs", "workflow_jobs", "instances", "instance_groups"),
)
# What hangs on a thing: a list to be linked with, or a text that is kept with it.
LINKS = {
    "workflow_job_templates": ("workflow_nodes",),
    "workflow_job_template_nodes": ("success_nodes", "always_nodes", "failure_nodes"),
}
TEXTS = {"job_templates": ("survey_spec",), "workflow_job_template_nodes": ("create_approval_template",)}
# What AWX lets be written, so far as it matters here; awx leaves out whatever else it is given, without a word.
_ASKED = (
    *("scm_branch", "diff_mode", "variables", "limit", "tags", "skip_tags", "job_type", "verbosity", "inventory"),
    *("credential", "execution_environment", "labels", "forks", "job_slice_count", "timeout", "instance_groups"),
)
_ASKED_OF_WORKFLOWS = ("variables", "inventory", "limit", "scm_branch", "labels", "skip_tags", "tags")
FIELDS: dict[str, tuple[str, ...]] = {
    "inventories": ("name", "description", "organization", "kind", "host_filter", "variables"),
    "inventory_sources": (
        *("name", "description", "source", "source_path", "source_vars", "scm_branch", "credential", "overwrite"),
        *("overwrite_vars", "timeout", "verbosity", "limit", "execution_environment", "inventory", "update_on_launch"),
        *("update_cache_timeout", "source_project"),
    ),
    "job_templates": (
        *("name", "description", "job_type", "inventory", "project", "playbook", "scm_branch", "forks", "limit"),
        *("verbosity", "extra_vars", "job_tags", "skip_tags", "start_at_task", "timeout", "use_fact_cache"),
        *("execution_environment", "survey_enabled", "become_enabled", "diff_mode", "allow_simultaneous"),
        *(f"ask_{what}_on_launch" for what in _ASKED),
    ),
    "workflow_job_templates": (
        *("name", "description", "extra_vars", "organization", "survey_enabled", "allow_simultaneous", "inventory"),
        *(f"ask_{what}_on_launch" for what in _ASKED_OF_WORKFLOWS),
    ),
    "workflow_job_template_nodes": (
        *("extra_data", "inventory", "job_type", "limit", "workflow_job_template", "unified_job_template"),
        *("all_parents_must_converge", "identifier"),
    ),
}


def _name(kind: str) -> str:
    """What awx calls a list."""
    return "inventory" if kind == "inventories" else kind


def _is_meant(thing: dict[str, Any], query: dict[str, str]) -> bool:
    return all(str(thing.get(name)) == value for name, value in query.items() if not name.startswith("page"))


class Awx:
    """What it was told: ``things[list][id]``, each with its own fields."""

    def __init__(self) -> None:
        self.things: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in (*LISTS, *EMPTY)}
        self.links: dict[tuple[int, str], list[int]] = {}
        self.refused: list[str] = []
        self.address = ""
        self._last = 0

    def put(self, kind: str, fields: dict[str, Any], number: int | None = None) -> dict[str, Any]:
        """Keeps a thing. What awx did not find, by which another should be known, it leaves out or sends as null."""
        named = LISTS[kind][1]
        if wrong := [name for name in named if name in fields and not isinstance(fields[name], int)]:
            self.refused += [f"{kind} {fields.get('name')}: {name}" for name in wrong if fields[name] is not None]
        if number is None:
            self._last += 1
            number = self._last
        if kind in ("job_templates", "inventory_sources"):
            owner = self.things["projects" if kind == "job_templates" else "inventories"]
            of = fields.get("project") if kind == "job_templates" else fields.get("inventory")
            fields = {**fields, "organization": owner[of]["organization"]} if of in owner else fields
        thing = {**self.things[kind].get(number, {}), **fields, "id": number, "type": LISTS[kind][0]}
        thing["url"] = f"/api/v2/{kind}/{number}/"
        thing["related"] = {
            **{name: f"/api/v2/{other}/{thing[name]}/" for name, other in named.items() if thing.get(name)},
            **{name: f"{thing['url']}{name}/" for name in (*LINKS.get(kind, ()), *TEXTS.get(kind, ()))},
        }
        self.things[kind][number] = thing
        return thing

    def named(self, kind: str) -> dict[str, dict[str, Any]]:
        return {thing["name"]: thing for thing in self.things[kind].values()}


@contextmanager
def awx() -> Iterator[Awx]:
    """One that listens, on a port of its own."""
    told = Awx()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"told": told}))
    told.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    told: Awx

    def do_GET(self) -> None:
        path, query = self._path()
        match path:
            case []:
                return self._say({"available_versions": {"v2": "/api/v2/"}, "current_version": "/api/v2/"})
            case ["v2"]:
                return self._say({_name(kind): f"/api/v2/{kind}/" for kind in self.told.things})
            case ["v2", kind]:
                return self._list([one for one in self.told.things[kind].values() if _is_meant(one, query)])
            case ["v2", kind, number]:
                return self._say(self.told.things[kind][int(number)])
            case ["v2", _, number, link]:
                nodes = self.told.things["workflow_job_template_nodes"]
                return self._list([nodes[one] for one in self.told.links.get((int(number), link), [])])
        return self._say({}, 404)

    def do_OPTIONS(self) -> None:
        path, _ = self._path()
        kind = "workflow_job_template_nodes" if path[-1].endswith("_nodes") else path[1]
        fields = {name: {"type": "string"} for name in FIELDS.get(kind, ())}
        named = {name: {"type": "id"} for name in (LISTS[kind][1] if kind in LISTS else ())}
        self._say({"actions": {"POST": {**fields, **named}}, "search_fields": ["name"]})

    def do_POST(self) -> None:
        path, _ = self._path()
        sent = self._sent()
        match path:
            case ["v2", kind]:
                return self._say(self.told.put(kind, sent), 201)
            case ["v2", kind, number, text] if text in TEXTS.get(kind, ()):
                self.told.things[kind][int(number)][text] = sent
                return self._say(sent)
            case ["v2", _, number, "workflow_nodes"]:
                node = self.told.put("workflow_job_template_nodes", {**sent, "workflow_job_template": int(number)})
                self.told.links.setdefault((int(number), "workflow_nodes"), []).append(node["id"])
                return self._say(node, 201)
            case ["v2", _, number, link]:
                self.told.links.setdefault((int(number), link), []).append(sent["id"])
                return self._say(None, 204)
        return self._say({}, 404)

    def do_PUT(self) -> None:
        path, _ = self._path()
        self._say(self.told.put(path[1], self._sent(), int(path[2])))

    def log_message(self, *_: object) -> None:
        pass

    def _path(self) -> tuple[list[str], dict[str, str]]:
        parts = urlsplit(self.path)
        return parts.path.strip("/").split("/")[1:], {name: value[0] for name, value in parse_qs(parts.query).items()}

    def _sent(self) -> dict[str, Any]:
        return dict(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _list(self, things: list[dict[str, Any]]) -> None:
        self._say({"count": len(things), "next": None, "previous": None, "results": things})

    def _say(self, said: object, code: int = 200) -> None:
        body = b"" if code == 204 else json.dumps(said).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Allow", "GET, POST, PUT, HEAD, OPTIONS")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
