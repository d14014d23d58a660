"""Finding plugins, and what start-up says about those that would not do what their author means."""

from __future__ import annotations

import itertools
import logging
import re
import shutil
import sys
import types
from typing import Any

import pytest

from rolecall import Allow, Rolecall, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.errors import ConfigurationError, PluginError
from rolecall.request import Request
from rolecall.sessions import SessionProperties

from ...ids import as_text
from ...untyped import untyped

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
ENVIRON = {"ROLECALL_API_KEY": KEY, "ROLECALL_API_SECRET": SECRET}
HEADER = "from rolecall import Allow, Deny, Role, hookimpl\n"
CLASS = """
class Policy:
    @hookimpl
    def rolecall_vote_session(self, request):
        return Allow()
"""
MODULE = """
@hookimpl
def rolecall_vote_session(request):
    return Allow()
"""
names = map("plugin_module_{}".format, itertools.count())


class Package:
    """Makes modules and installed distributions on ``sys.path``."""

    def __init__(self, folder):
        self.folder = folder

    def module(self, source):
        name = next(names)
        (self.folder / f"{name}.py").write_text(HEADER + source)
        return name

    def install(self, source, entry_point="classroom", target="Policy", distribution="acme-policies", version="2.1"):
        module = self.module(source)
        value = f"{module}:{target}" if target else module
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[rolecall]\n{entry_point} = {value}\n")
        return module


@pytest.fixture
def package(tmp_path, monkeypatch):
    # Each test has a path of its own, so what is remembered of another path does not count here.
    monkeypatch.syspath_prepend(tmp_path)
    modules = set(sys.modules)
    yield Package(tmp_path)
    for name in set(sys.modules) - modules:
        if name.startswith("plugin_module_"):
            del sys.modules[name]


def loaded(kit):
    return {plugin.name: plugin for plugin in kit.plugins}


def lets_in(kit):
    return drive(kit.engine.create_session(SessionProperties(), call=Call(Request("POST", "/sessions"))))


# -- as passed in, and by name ---------------------------------------------------------------------


def test_an_instance_goes_by_its_class_or_its_own_name(make_kit):
    class Policy:
        name: str

        @hookimpl
        def rolecall_vote_session(self, request):
            return Allow()

    named = Policy()
    named.name = "classroom"
    kit = make_kit(plugins=[Policy(), named])
    assert set(loaded(kit)) == {"classroom", f"{__name__}.{Policy.__qualname__}"}
    assert loaded(kit)["classroom"].origin == "passed to Rolecall(plugins=…)"
    assert loaded(kit)["classroom"].hooks == ("rolecall_vote_session",)
    assert lets_in(kit)


@pytest.mark.parametrize(
    ("source", "attribute"),
    [
        (MODULE, ""),
        (CLASS, ":Policy"),
        (CLASS + "policy = Policy()\n", ":policy"),
        (CLASS + "class Box:\n    policy = Policy()\n", ":Box.policy"),
        (CLASS + "class Box:\n    Inner = Policy\n", ":Box.Inner"),
    ],
    ids=["module", "class", "object", "nested object", "nested class"],
)
def test_a_plugin_is_loaded_by_its_name(make_kit, package, source, attribute):
    name = package.module(source) + attribute
    kit = make_kit(plugins=[name])
    (plugin,) = kit.plugins
    assert plugin.origin == f"plugin {name!r}"
    assert lets_in(kit)


def test_a_module_may_be_passed_itself(make_kit):
    module: Any = types.ModuleType("classroom")
    module.rolecall_vote_session = hookimpl(lambda request: Allow())
    assert set(loaded(make_kit(plugins=[module]))) == {"classroom"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_anywhere", "ModuleNotFoundError"),
        ("no_such_module_anywhere:Policy", "ModuleNotFoundError"),
        ("rolecall.policies:NoSuchPolicy", "AttributeError"),
        ("", "package.module:object"),
        (":", "package.module:object"),
        (":Policy", "package.module:object"),
        (".relative:Policy", "package.module:object"),
        ("rolecall policies", "package.module:object"),
    ],
)
def test_a_name_that_cannot_be_loaded_says_what_was_expected(make_kit, name, message):
    with pytest.raises(PluginError, match="cannot be loaded") as stopped:
        make_kit(plugins=[name])
    assert message in str(stopped.value)
    assert repr(name) in str(stopped.value)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import no_such_module", "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
    ],
)
@pytest.mark.parametrize("by_entry_point", [False, True])
def test_a_plugin_that_does_not_import_stops_start_up_and_is_named(make_kit, package, source, error, by_entry_point):
    if by_entry_point:
        package.install(source)
    options = {"entry_points": ["classroom"]} if by_entry_point else {"plugins": [package.module(source) + ":Policy"]}
    expected = ["acme-policies 2.1", "classroom"] if by_entry_point else ["plugin_module_"]
    with pytest.raises(PluginError) as stopped:
        make_kit(**options)
    assert all(part in str(stopped.value) for part in [*expected, error])


def test_a_class_that_cannot_be_made_without_arguments_says_so(make_kit, package):
    source = "class Policy:\n    def __init__(self, needed): pass\n"
    package.install(source)
    with pytest.raises(PluginError, match=r"acme-policies 2\.1.*class Policy.*without arguments"):
        make_kit(entry_points=["classroom"])


# -- entry points ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), [(CLASS, "Policy"), (CLASS + "it = Policy()", "it"), (MODULE, None)])
def test_a_plugin_of_an_installed_package_is_loaded_by_its_name(make_kit, package, source, target):
    package.install(source, target=target)
    kit = make_kit(entry_points=["classroom"])
    (plugin,) = kit.plugins
    assert (plugin.name, plugin.hooks) == ("classroom", ("rolecall_vote_session",))
    assert plugin.origin == "entry point 'classroom' of acme-policies 2.1"
    assert lets_in(kit)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (False, set()),
        (["classroom"], {"classroom"}),
        (("classroom", "library"), {"classroom", "library"}),
        ([], set()),
        ((), set()),
    ],
)
def test_an_allow_list_says_which_are_loaded(make_kit, package, wanted, found):
    package.install(CLASS)
    package.install(CLASS, "library", distribution="other", version="0.1")
    assert set(loaded(make_kit(entry_points=wanted))) == found


def test_what_is_not_on_the_allow_list_is_not_even_imported(make_kit, package):
    package.install(CLASS)
    unwanted = package.install("raise OSError", "library", distribution="other")
    make_kit(entry_points=["classroom"])
    assert unwanted not in sys.modules


def test_a_wanted_plugin_that_is_missing_stops_start_up(make_kit, package):
    package.install(CLASS)
    with pytest.raises(PluginError, match=r"clasroom.*did you mean classroom\?.*install it.*Offered: classroom"):
        make_kit(entry_points=["classroom", "clasroom"])


@pytest.mark.parametrize("wanted", ["classroom", None, 1, [1], iter(())], ids=as_text)
def test_an_allow_list_is_a_list(make_kit, wanted):
    with pytest.raises(PluginError, match="expected a list of names, or False"):
        make_kit(entry_points=wanted)


def test_there_is_no_word_for_all_of_them(make_kit, package):
    package.install(CLASS)
    with pytest.raises(PluginError, match="load when they are named"):
        make_kit(entry_points=True)
    with pytest.raises(ConfigurationError, match=r"ROLECALL_ENTRY_POINTS is 'all'.*load when they are named"):
        Rolecall.from_env({**ENVIRON, "ROLECALL_ENTRY_POINTS": " ALL "})


def test_what_is_installed_and_not_named_is_not_imported_and_told_in_one_line(make_kit, package, caplog):
    module = package.install(CLASS)
    package.install(CLASS, "library", distribution="other", version="0.1")
    assert make_kit(entry_points=["library"]).plugins[0].name == "library"
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("rolecall", "WARNING")
    assert "classroom (of acme-policies 2.1)" in record.message
    assert "library" not in record.message
    assert module not in sys.modules


@pytest.mark.parametrize("layout", ["dist-info", "egg-info", "EGG-INFO"])
def test_it_is_told_however_the_package_was_installed(make_kit, package, caplog, layout, tmp_path, monkeypatch):
    package.install(CLASS)
    (info,) = tmp_path.glob("*.dist-info")
    if layout == "EGG-INFO":
        egg = tmp_path / "acme_policies-2.1.egg"
        egg.mkdir()
        info.rename(egg / layout)
        monkeypatch.syspath_prepend(egg)
    else:
        (info / "METADATA").rename(info / ("METADATA" if layout == "dist-info" else "PKG-INFO"))
        info.rename(info.with_suffix("." + layout))
    make_kit()
    assert ["classroom" in record.message for record in caplog.records] == [True]


def test_it_is_told_of_a_package_in_an_archive(make_kit, package, caplog, tmp_path, monkeypatch):
    package.install(CLASS)
    archive = shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path)
    shutil.rmtree(next(tmp_path.glob("*.dist-info")))
    monkeypatch.syspath_prepend(archive)
    make_kit()
    assert ["classroom" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize(
    "options",
    [
        {"entry_points": ["classroom"]},
        {"entry_points": False},
        {"blocked_plugins": ["classroom"]},
        {"plugins": [type("Passed", (), {"name": "classroom", "rolecall_vote_token": hookimpl(lambda self: None)})()]},
    ],
    ids=["named", "none, and said so", "blocked", "passed in code"],
)
def test_nothing_is_told_of_a_plugin_that_somebody_decided_on(make_kit, package, caplog, options):
    package.install(CLASS)
    make_kit(**options)
    assert caplog.records == []


def test_two_packages_with_a_plugin_of_one_name_stop_start_up(make_kit, package):
    package.install(CLASS)
    package.install(CLASS, distribution="other", version="0.1")
    with pytest.raises(PluginError, match=r"classroom \(entry point 'classroom' of .*\): two plugins have this name"):
        make_kit(entry_points=["classroom"])


# -- the block list --------------------------------------------------------------------------------


def test_a_blocked_plugin_is_left_out_wherever_it_comes_from(make_kit, package):
    package.install(CLASS)
    module = package.module(MODULE)
    kit = make_kit(plugins=[module], entry_points=["classroom"], blocked_plugins=["classroom", module])
    assert kit.plugins == ()


@pytest.mark.parametrize("source", ["raise OSError", "import no_such_module", "class Policy:\n    1 / 0\n"])
def test_a_plugin_that_does_not_import_may_be_blocked_as_the_message_says(make_kit, package, source):
    package.install(source)
    with pytest.raises(PluginError, match="blocked_plugins"):
        make_kit(entry_points=["classroom"])
    assert make_kit(entry_points=["classroom"], blocked_plugins=["classroom"]).plugins == ()


def test_a_plugin_is_blocked_by_the_name_of_its_entry_point_even_if_it_has_a_name_of_its_own(make_kit, package):
    package.install(CLASS.replace("class Policy:", "class Policy:\n    name = 'lessons'"))
    assert make_kit(entry_points=["classroom"], blocked_plugins=["classroom"]).plugins == ()
    assert make_kit(entry_points=["classroom"], blocked_plugins=["lessons"]).plugins == ()


@pytest.mark.parametrize(
    ("blocked", "hint"),
    [
        ("clasroom", "did you mean 'classroom'?"),
        ("CLASSROOM", "did you mean 'classroom'?"),
        ("x", "the kit's plugins are classroom"),
    ],
)
def test_a_blocked_plugin_that_is_not_there_stops_start_up(make_kit, package, blocked, hint):
    package.install(CLASS)
    with pytest.raises(PluginError, match=re.escape(f"blocked_plugins names {blocked!r}")) as stopped:
        make_kit(entry_points=["classroom"], blocked_plugins=[blocked])
    assert hint in str(stopped.value)


def test_an_installed_plugin_that_nobody_named_may_be_blocked(make_kit, package):
    package.install(CLASS)
    assert make_kit(blocked_plugins=["classroom"]).plugins == ()
    assert make_kit(entry_points=False, blocked_plugins=["classroom"]).plugins == ()


# -- configuration ---------------------------------------------------------------------------------


def test_the_configuration_of_a_plugin_that_is_not_there_stops_start_up(make_kit, package):
    package.install(CLASS)
    with pytest.raises(PluginError, match=r"'clas-room' .*ROLECALL_PLUGIN_CLAS_ROOM.* not loaded; did you mean 'class"):
        make_kit(entry_points=["classroom"], plugin_config={"clas-room": {}})
    with pytest.raises(PluginError, match=r"'CLASSROOM' is configured.*name it with entry_points=\['classroom'\]"):
        Rolecall.from_env({**ENVIRON, "ROLECALL_PLUGIN_CLASSROOM": "{}"})


def test_a_blocked_plugin_may_stay_configured(make_kit, package):
    package.install(CLASS)
    options = {"entry_points": ["classroom"], "plugin_config": {"classroom": {"size": 30}}}
    assert make_kit(blocked_plugins=["classroom"], **options).plugins == ()


def test_a_plugin_is_configured_by_its_own_name_or_its_entry_points(make_kit, package):
    package.install(CLASS.replace("class Policy:", "class Policy:\n    name = 'lessons'"))
    for name in ("classroom", "lessons"):
        assert (
            make_kit(entry_points=["classroom"], plugin_config={name: {"size": 30}}).plugin_config(name)["size"] == 30
        )


@pytest.mark.parametrize("blocked", ["classroom", 1, None])
def test_a_block_list_is_a_list(make_kit, package, blocked):
    package.install(CLASS)
    with pytest.raises(ConfigurationError):
        make_kit(blocked_plugins=blocked)


# -- by environment --------------------------------------------------------------------------------


def test_the_environment_names_plugins(package):
    module = package.module(MODULE)
    with Rolecall.from_env({**ENVIRON, "ROLECALL_PLUGINS": f" {module} ,"}) as kit:
        assert lets_in(kit)


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, set()),
        ({"ROLECALL_ENTRY_POINTS": "none"}, set()),
        ({"ROLECALL_ENTRY_POINTS": "library"}, {"library"}),
        ({"ROLECALL_ENTRY_POINTS": "library, classroom"}, {"library", "classroom"}),
        ({"ROLECALL_ENTRY_POINTS": "library,classroom", "ROLECALL_BLOCKED_PLUGINS": "library"}, {"classroom"}),
        ({"ROLECALL_ENTRY_POINTS": "library", "ROLECALL_BLOCKED_PLUGINS": "library,classroom"}, set()),
    ],
)
def test_the_environment_chooses_among_what_is_installed(package, variables, found):
    package.install(CLASS)
    package.install(CLASS, "library", distribution="other")
    with Rolecall.from_env({**ENVIRON, **variables}) as kit:
        assert set(loaded(kit)) == found


def test_a_plugin_that_the_environment_wants_and_nobody_offers_stops_start_up():
    with pytest.raises(PluginError, match="no installed package offers"):
        Rolecall.from_env({**ENVIRON, "ROLECALL_ENTRY_POINTS": "clasroom"})


# -- checks ----------------------------------------------------------------------------------------

PLAIN = "    @hookimpl\n    {}\n        return None\n"
BAD = {
    "misspelt": ("@hookimpl\n    def rolecall_vote_tokn(self, request): pass", "did you mean rolecall_vote_token?"),
    "misspelt, unmarked": ("def rolecall_vote_tokn(self, request): pass", "did you mean rolecall_vote_token?"),
    "unknown": ("@hookimpl\n    def rolecall_xyzzy(self, request): pass", "there is no hook rolecall_xyzzy"),
    "without prefix": ("@hookimpl\n    def vote_token(self, request): pass", "there is no hook vote_token"),
    "optional": ("@hookimpl(optionalhook=True)\n    def rolecall_vote_tokn(self, request): pass", "did you mean"),
    "unmarked": ("def rolecall_vote_token(self, request): pass", "not marked with @hookimpl"),
    "another argument": ("@hookimpl\n    def rolecall_vote_token(self, demand): pass", "demand"),
    "an argument too many": ("@hookimpl\n    def rolecall_vote_token(self, request, now): pass", "now"),
    "a keyword argument": ("@hookimpl\n    def rolecall_vote_token(self, *, request): pass", "request"),
    "an optional argument": ("@hookimpl\n    def rolecall_vote_token(self, request=None): pass", "request"),
    "wrapper": ("@hookimpl(wrapper=True)\n    def rolecall_vote_token(self, request): return (yield)", "wrapper"),
    "old wrapper": ("@hookimpl(hookwrapper=True)\n    def rolecall_vote_token(self, request): yield", "wrapper"),
    "event wrapper": ("@hookimpl(wrapper=True)\n    def rolecall_on_event(self, event): return (yield)", "wrapper"),
    "trylast": ("@hookimpl(trylast=True)\n    def rolecall_vote_token(self, request): pass", "trylast"),
    "tryfirst": ("@hookimpl(tryfirst=True)\n    def rolecall_vote_token(self, request): pass", "tryfirst"),
    "another name": ("@hookimpl(specname='rolecall_vote_token')\n    def vote(self, request): pass", "specname"),
    "no hook": ("def vote(self, request): pass", "implements no hook; mark its functions with @hookimpl"),
    "async start-up": ("@hookimpl\n    async def rolecall_startup(self, kit): pass", "async def"),
    "async roles": ("@hookimpl\n    async def rolecall_register_roles(self): return []", "async def"),
    "async formats": ("@hookimpl\n    async def rolecall_register_formats(self): return {}", "async def"),
    "the kit's name": ("name = 'rolecall'\n    @hookimpl\n    def rolecall_vote_token(self): pass", "the kit's own"),
}


@pytest.mark.parametrize(("body", "message"), BAD.values(), ids=BAD)
def test_a_plugin_that_would_not_do_what_it_says_is_named_with_its_package(make_kit, package, body, message):
    package.install(f"class Policy:\n    {body}\n")
    with pytest.raises(PluginError) as stopped:
        make_kit(entry_points=["classroom"])
    text = str(stopped.value)
    assert message in text
    assert "acme-policies 2.1" in text
    assert "classroom" in text or "the kit's own" in text


def test_firstresult_is_no_option_of_an_implementation():
    with pytest.raises(TypeError, match="firstresult"):
        untyped(hookimpl)(firstresult=True)


FAILING = {
    "start-up fails": ("def rolecall_startup(self, kit): raise OSError('disk')", "OSError: disk"),
    "start-up exits": ("def rolecall_startup(self, kit): raise SystemExit(3)", "SystemExit"),
    "roles fail": ("def rolecall_register_roles(self): raise OSError('disk')", "OSError: disk"),
    "a generator of roles fails": ("def rolecall_register_roles(self): yield 1 / 0", "ZeroDivisionError"),
    "no list of roles": ("def rolecall_register_roles(self): return Role.PUBLISHER", "expected [Role(…)]"),
    "no roles": ("def rolecall_register_roles(self): return ['assistant']", "expected a Role"),
    "a standard role": ("def rolecall_register_roles(self): return [Role.PUBLISHER]", "registered twice"),
    "a role without wire name": ("def rolecall_register_roles(self): return [Role('a', ['connect'])]", "wire_name"),
    "formats are no mapping": ("def rolecall_register_formats(self): return ['jwt']", "expected a mapping by name"),
    "a format is none": ("def rolecall_register_formats(self): return {'jwt': 1}", "expected a mapping by name"),
    "a format of the kit's": ("def rolecall_register_formats(self): return {'t1': object}", "there already"),
    "stores are no mapping": ("def rolecall_register_stores(self): return object", "expected a mapping by name"),
    "a store of the kit's": ("def rolecall_register_stores(self): return {'sqlite': object}", "there already"),
    "a start-up that is not awaited": (
        "def rolecall_startup(self, kit):\n        async def go(): pass\n        return go()",
        "coroutine",
    ),
}


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
@pytest.mark.parametrize(("body", "message"), FAILING.values(), ids=FAILING)
def test_a_start_up_hook_that_fails_stops_start_up_and_names_the_plugin(make_kit, package, body, message):
    package.install(f"class Policy:\n    @hookimpl\n    {body}\n")
    with pytest.raises(ConfigurationError) as stopped:
        make_kit(entry_points=["classroom"])
    assert message in str(stopped.value)
    assert "classroom" in str(stopped.value)


def test_a_start_up_hook_that_fails_leaves_no_store_open(make_kit, tmp_path):
    class Fails:
        @hookimpl
        def rolecall_startup(self, kit):
            raise OSError

    closed = []

    from rolecall.stores.memory import MemoryStore

    class Store(MemoryStore):
        def close(self):
            closed.append(True)

    class Stores:
        @hookimpl
        def rolecall_register_stores(self):
            return {"test": lambda url: Store()}

    with pytest.raises(PluginError):
        make_kit(store="test://", plugins=[Fails(), Stores()])
    assert closed


def test_a_property_that_cannot_be_read_yet_does_not_stop_start_up(make_kit):
    class Policy:
        @property
        def current_user(self):
            raise RuntimeError("outside of a request")

        @hookimpl
        def rolecall_vote_session(self, request):
            return Allow()

    assert lets_in(make_kit(plugins=[Policy()]))


def test_loading_logs_nothing_that_is_wrong(make_kit, package, caplog):
    package.install(CLASS)
    with caplog.at_level(logging.DEBUG):
        make_kit(entry_points=["classroom"])
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
