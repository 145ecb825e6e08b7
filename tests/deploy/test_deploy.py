"""The files of deploy/: what they say of each other, of the export and of the code that reads them holds."""

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pipelines import update
from tfrec_llm.config import ConfigError, Serving
from tfrec_llm.serving import labels, warm_up
from tfrec_llm.serving.server import gate, parts, secret, tf_serving
from tfrec_llm.serving.server.measures import Measures

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
READ = {parts.REMOTE, parts.LOG, parts.KEYS, secret.VARIABLE}
MODELS = f"/models/{tf_serving.NAME}"  # the base path in models.config


def text_of(name):
    return (DEPLOY / name).read_text("utf-8")


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load(text_of("compose.yaml"))["services"]


@pytest.fixture(scope="module")
def objects():
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text_of("kubernetes.yaml"))}


@pytest.fixture(scope="module")
def pods(objects):
    return {name: one["spec"]["template"]["spec"] for (kind, name), one in objects.items() if kind == "Deployment"}


def flags(arguments):
    return dict(argument.removeprefix("--").split("=", 1) for argument in arguments)


def test_both_deployments_have_the_four_parts(services, pods):
    assert set(services) == set(pods) == {"serving", "application", "database", "prometheus", "update"}
    for name, service in services.items():
        image = pods[name]["containers"][0]["image"]
        assert image == service["image"]
        assert re.fullmatch(r"[\w/.-]+:v?\d+(\.\d+)+", image), "a version, never latest"


def test_both_start_tensorflow_serving_alike_with_the_files_that_an_export_writes(services, pods):
    container = pods["serving"]["containers"][0]
    assert services["serving"]["command"] == container["args"]
    assert services["serving"]["entrypoint"] == container["command"] == ["tensorflow_model_server"]
    said = flags(container["args"])
    assert 0 < 4 * int(said["model_config_file_poll_wait_seconds"]) <= labels.LOAD_SECONDS  # each file is seen
    assert said["model_config_file"] == f"{MODELS}/models.config"
    assert said["batching_parameters_file"] == f"{MODELS}/{warm_up.BATCHING}"
    assert said["enable_batching"] == said["allow_version_labels_for_unavailable_models"] == "true"
    assert services["serving"]["volumes"][0].endswith(f"/export:{MODELS}:ro")
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts[MODELS]["subPath"] == "export"
    assert Path(said["monitoring_config_file"]).parent.as_posix() in mounts


def test_the_application_asks_the_port_that_tensorflow_serving_listens_on(services, pods):
    port = flags(services["serving"]["command"])["port"]
    asked = {one["name"]: one.get("value") for one in pods["application"]["containers"][0]["env"]}
    assert services["application"]["environment"][parts.REMOTE] == f"serving:{port}"
    assert asked[parts.REMOTE] == f"dns:///serving:{port}"


def test_the_environment_is_what_the_code_reads_and_holds_no_secret(services, pods):
    container = pods["application"]["containers"][0]
    assert set(services["application"]["environment"]) == {one["name"] for one in container["env"]} == READ
    for name in READ - {parts.REMOTE}:
        assert "${" in services["application"]["environment"][name]
    assert {one["name"] for one in container["env"] if "valueFrom" in one} == READ - {parts.REMOTE}
    assert re.findall(r"^\w+=.+$", text_of("env.example"), re.MULTILINE) == []
    assert ".env" in (ROOT / ".gitignore").read_text("utf-8").split("\n")


def test_what_must_be_set_is_named_where_it_is_missing(services):
    required = set(re.findall(r"\$\{(\w+):\?set \1 in \.env", text_of("compose.yaml")))
    assert required == {"RUN_FOLDER", "POSTGRES_PASSWORD", secret.VARIABLE}
    assert required <= set(re.findall(r"^(\w+)=", text_of("env.example"), re.MULTILINE))


def test_the_database_url_is_that_of_the_database(services):
    url, database = services["application"]["environment"][parts.LOG], services["database"]["environment"]
    assert url.startswith(f"postgresql+psycopg://{database['POSTGRES_USER']}:")
    assert url.endswith(f"@database:5432/{database['POSTGRES_DB']}")


def test_the_arguments_of_the_application_are_settings_that_there_are(services, pods):
    arguments = services["application"]["command"]
    assert arguments == pods["application"]["containers"][0]["args"]
    settings = [argument.split("=")[0] for argument in arguments if argument.startswith("serving.")]
    assert {setting.removeprefix("serving.") for setting in settings} <= set(vars(Serving()))
    assert "serving.port=8080" in arguments
    assert services["application"]["ports"] == ["127.0.0.1:8080:8080"]


def test_probes_ask_routes_that_need_no_key(pods):
    container = pods["application"]["containers"][0]
    for name in ("startupProbe", "readinessProbe"):
        assert container[name]["httpGet"] == {"path": gate.OPEN[0], "port": "http"}


def test_every_port_of_a_service_is_one_of_its_pods(objects, pods):
    for (kind, _), one in objects.items():
        if kind == "Service":
            names = {port["name"] for port in pods[one["spec"]["selector"]["app"]]["containers"][0]["ports"]}
            assert {port["targetPort"] for port in one["spec"]["ports"]} <= names


def test_every_volume_is_defined_and_every_pod_is_held_small(objects, pods):
    for pod in pods.values():
        container = pod["containers"][0]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        for volume in pod["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in objects
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}


def test_the_config_map_holds_the_files_beside_it(objects):
    files = objects["ConfigMap", "tfrec-llm"]["data"]
    assert files == {name: text_of(name) for name in ("monitoring.config", "prometheus.yml", "rules.yml")}


def test_prometheus_asks_both_where_they_say_it(services):
    jobs = {job["job_name"]: job for job in yaml.safe_load(text_of("prometheus.yml"))["scrape_configs"]}
    asked = {name: job["dns_sd_configs"][0] for name, job in jobs.items()}
    assert asked["application"]["port"] == 8080
    assert asked["serving"]["port"] == int(flags(services["serving"]["command"])["rest_api_port"])
    assert f'path: "{jobs["serving"]["metrics_path"]}"' in text_of("monitoring.config")


def test_prometheus_shows_a_key_that_the_server_takes(services, pods):
    (job,) = (one for one in yaml.safe_load(text_of("prometheus.yml"))["scrape_configs"] if "authorization" in one)
    assert (job["job_name"], job["authorization"]["type"]) == ("application", "Bearer")
    place = Path(job["authorization"]["credentials_file"])
    assert services["prometheus"]["secrets"] == [place.name]
    variable = yaml.safe_load(text_of("compose.yaml"))["secrets"][place.name]["environment"]
    assert f"\n{variable}=\n" in text_of("env.example")
    pod = pods["prometheus"]
    (mount,) = (one for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == str(place.parent))
    (volume,) = (one["secret"] for one in pod["volumes"] if one["name"] == mount["name"])
    (item,) = volume["items"]
    assert item["path"] == place.name
    assert f"--from-literal={item['key']}=" in text_of("README.md")
    opened = gate.Gate(None, ("first", "second"), 1, Measures())
    assert opened._opens({b"authorization": f"{job['authorization']['type']} second".encode()})


def test_alerts_are_about_metrics_that_the_server_has():
    rules = [rule for group in yaml.safe_load(text_of("rules.yml"))["groups"] for rule in group["rules"]]
    families = text_string_to_metric_families(Measures().text().decode())
    kinds = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
    known = {family.name + end for family in families for end in kinds.get(family.type, ("",))}
    named = {name for rule in rules for name in re.findall(r"tfrec_llm_\w+", rule["expr"])}
    assert named
    assert named <= known


def test_the_image_is_made_from_the_lock_and_runs_as_nobody_special():
    lines = text_of("Dockerfile")
    assert "--no-deps --require-hashes" in lines
    assert re.search(r"^USER 10001:10001$", lines, re.MULTILINE)
    for source in re.findall(r"^COPY (?!--from)(\S+) ", lines, re.MULTILINE):
        assert (ROOT / source).exists()
        assert f"!{source}" in (ROOT / ".dockerignore").read_text("utf-8").split("\n")


def test_in_kubernetes_too_nobody_learns_who_did_not_say_so(objects, pods):
    learns, serves = (pods[name]["containers"][0] for name in ("update", "application"))
    wanted = objects["Deployment", "update"]["spec"]
    assert (wanted["replicas"], wanted["strategy"]) == (0, {"type": "Recreate"})
    assert learns["command"][-1] == "pipelines.update"
    assert [one for one in serves["env"] if one["name"] in (parts.LOG, secret.VARIABLE)] == learns["env"][:2]
    run = {mount["name"]: mount for mount in serves["volumeMounts"]}["run"]
    assert {key: value for key, value in run.items() if key != "readOnly"} in learns["volumeMounts"]
    with pytest.raises(ConfigError, match=r"'/run/tfrec_llm/config\.toml'"):  # no such file here
        update.main(learns["args"])


def test_learning_writes_to_the_run_folder_and_reads_the_log_of_the_application(services):
    learns, serves = services["update"], services["application"]
    assert learns["profiles"] == ["learn"]  # nobody learns who did not say so
    assert (learns["image"], learns["entrypoint"][-1]) == (serves["image"], "pipelines.update")
    assert learns["volumes"] == [serves["volumes"][0].removesuffix(":ro")]
    for name in (parts.LOG, secret.VARIABLE):
        assert learns["environment"][name] == serves["environment"][name]
    with pytest.raises(ConfigError, match=r"'/run/tfrec_llm/config\.toml'"):  # no such file here
        update.main(learns["command"])
