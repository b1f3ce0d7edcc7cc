"""Drives a workspace with azure-ai-ml, unmodified. TestAzureAIML runs it.

argv: resource group, workspace, cluster, an empty directory.
"""

import contextlib
import io
import os
import pathlib
import sys
import time

from azure.ai.ml import Input, MLClient, Output, command, load_component, load_job
from azure.ai.ml._restclient.v2022_10_01_preview.models import ListViewType
from azure.ai.ml.entities import (
    AccountKeyConfiguration,
    AmlCompute,
    AzureBlobDatastore,
    BuildContext,
    Data,
    Environment,
    Model,
    PatTokenConfiguration,
    WorkspaceConnection,
)
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import EnvironmentCredential

group, workspace, cluster, scratch = sys.argv[1:]
scratch = pathlib.Path(scratch)
began = time.monotonic()
client = MLClient(EnvironmentCredential(), os.environ["AZURE_SUBSCRIPTION_ID"], group, workspace)


def done(what):
    print(f"ok {what} ({time.monotonic() - began:.1f} s)", flush=True)


def same(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def refused(what, call, kind=HttpResponseError):
    try:
        call()
    except kind as e:
        return str(e)
    raise AssertionError(f"{what} was not refused")


def write(name, text):
    path = scratch / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


class Released(io.StringIO):
    """Makes a file on the first flush: when the client has seen the job in progress.

    The client shows nothing of a job that has ended before."""

    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def flush(self):
        self.gate.touch()


def gated(name, text):
    """A command that waits until it is streamed."""
    gate = scratch / f"streamed-{name}"
    return gate, f"while [ ! -e {gate} ]; do sleep 0.05; done; {text}"


def finish(job):
    while True:
        job = client.jobs.get(job.name)
        if job.status in ("Completed", "Failed", "Canceled"):
            return job
        time.sleep(0.1)


# workspace
ws = client.workspaces.get(workspace)
same("workspace", (ws.name, ws.resource_group), (workspace, group))
same("workspaces", [w.name for w in client.workspaces.list()], [workspace])
assert ws.mlflow_tracking_uri.startswith("azureml://"), ws.mlflow_tracking_uri
done("workspace")

# compute
made = client.compute.begin_create_or_update(AmlCompute(
    name="sdk-cluster", size="Standard_DS2_v2", min_instances=0, max_instances=2, idle_time_before_scale_down=120,
)).result()
same("size", made.size.lower(), "standard_ds2_v2")
made.max_instances = 3
made = client.compute.begin_update(made).result()
same("max_instances", made.max_instances, 3)
same("max_instances read", client.compute.get("sdk-cluster").max_instances, 3)
same("computes", sorted(c.name for c in client.compute.list()), sorted([cluster, "sdk-cluster"]))
same("nodes", list(client.compute.list_nodes("sdk-cluster")), [])
assert any(s.name == "Standard_DS2_v2" for s in client.compute.list_sizes())
client.compute.begin_delete("sdk-cluster").result()
refused("a deleted compute", lambda: client.compute.get("sdk-cluster"), ResourceNotFoundError)
done("compute")

# connections
client.connections.create_or_update(WorkspaceConnection(
    name="code", type="git", target="https://example.com/repo", credentials=PatTokenConfiguration(pat="token"), metadata={"team": "lab"},
))
code = client.connections.get("code")
same("connection", (code.target, code.type, code.metadata, code.credentials.pat), ("https://example.com/repo", "git", {"team": "lab"}, None))
same("connections", [c.name for c in client.connections.list()], ["code"])
same("package feeds", [c.name for c in client.connections.list(connection_type="python_feed")], [])
client.connections.delete("code")
refused("a deleted connection", lambda: client.connections.get("code"), ResourceNotFoundError)
done("connections")

# datastores
names = {d.name for d in client.datastores.list()}
assert {"workspaceblobstore", "workspaceartifactstore"} <= names, names
same("default datastore", client.datastores.get_default().name, "workspaceblobstore")
default = client.datastores.get("workspaceblobstore", include_secrets=True)
assert default.credentials.account_key, default
client.datastores.create_or_update(AzureBlobDatastore(
    name="extra", account_name=default.account_name, container_name="data", description="by key",
    credentials=AccountKeyConfiguration(account_key=default.credentials.account_key),
))
same("description", client.datastores.get("extra").description, "by key")
client.datastores.delete("extra")
refused("a deleted datastore", lambda: client.datastores.get("extra"))
done("datastores")

# data
table = write("numbers/table.csv", "a,b\n1,2\n3,4\n")
data = client.data.create_or_update(Data(name="table", path=table, type="uri_file", tags={"team": "x"}))
same("data version", (data.name, data.version, data.type), ("table", "1", "uri_file"))
folder = client.data.create_or_update(Data(name="numbers", version="7", path=str(scratch / "numbers"), type="uri_folder"))
assert folder.path.startswith("azureml://"), folder.path
same("latest data", client.data.get("table", label="latest").version, "1")
same("data", sorted(d.name for d in client.data.list()), ["numbers", "table"])
same("versions", [d.version for d in client.data.list(name="table")], ["1"])
write("mltable/MLTable", "type: mltable\npaths:\n  - file: ./rows.csv\ntransformations:\n  - read_delimited:\n      delimiter: ','\n")
write("mltable/rows.csv", "x,y\n1,2\n")
rows = Data(name="rows", path=str(scratch / "mltable"), type="mltable")
rows._skip_validation = True  # it would ask the network for a schema
rows = client.data.create_or_update(rows)
same("mltable", rows.type, "mltable")
client.data.archive("table", version="1")
same("archived", [d.name for d in client.data.list(name="table")], [])
client.data.restore("table", version="1")
same("restored", [d.version for d in client.data.list(name="table")], ["1"])
done("data")

# model
model = client.models.create_or_update(Model(name="weights", path=write("model.txt", "w=1\n"), type="custom_model", description="d"))
same("model version", (model.name, model.version), ("weights", "1"))
client.models.download("weights", "1", download_path=str(scratch / "got-model"))
found = [p.read_text() for p in (scratch / "got-model").rglob("model.txt")]
same("downloaded model", found, ["w=1\n"])
same("models", [m.name for m in client.models.list()], ["weights"])
done("model")

# environment
conda = write("conda.yml", "name: e\nchannels: [conda-forge]\ndependencies: [python=3.11]\n")
env = client.environments.create_or_update(Environment(name="plain", image="library/python:3.12-slim"))
same("environment", (env.name, env.version), ("plain", "1"))
client.environments.create_or_update(Environment(name="with-conda", version="3", image="library/python:3.12-slim", conda_file=conda))
assert client.environments.get("with-conda", version="3").conda_file, "no conda file"
same("environments", sorted(e.name for e in client.environments.list()), ["plain", "with-conda"])
context = write("context/Dockerfile", "FROM library/python:3.12-slim\n")
built = client.environments.create_or_update(Environment(name="built", build=BuildContext(path=str(pathlib.Path(context).parent))))
assert built.build.path, built
done("environment")

# command job
write("src/main.py", """
import os, sys
print("hello", sys.argv[1], os.environ["GREETING"])
with open(sys.argv[2]) as f:
    print("rows", len(f.readlines()))
os.makedirs(sys.argv[3], exist_ok=True)
with open(os.path.join(sys.argv[3], "result.txt"), "w") as f:
    f.write("done")
os.makedirs("outputs", exist_ok=True)
with open("outputs/model.txt", "w") as f:
    f.write("weights")
""")
gate, text = gated("job", "python3 main.py ${{inputs.who}} ${{inputs.table}} ${{outputs.result}}")
job = command(
    code=str(scratch / "src"),
    command=text,
    inputs={"who": "world", "table": Input(type="uri_file", path="azureml:table:1")},
    outputs={"result": Output(type="uri_folder")},
    environment="plain@latest", compute=cluster, environment_variables={"GREETING": "hi"},
    display_name="first", experiment_name="sdk", tags={"k": "v"},
)
job = client.jobs.create_or_update(job)
text = Released(gate)
with contextlib.redirect_stdout(text):
    client.jobs.stream(job.name)
assert "hello world hi" in text.getvalue() and "rows 3" in text.getvalue(), text.getvalue()
job = client.jobs.get(job.name)
same("job", (job.status, job.display_name, job.tags["k"], job.experiment_name), ("Completed", "first", "v", "sdk"))
client.jobs.download(job.name, download_path=str(scratch / "got"), all=True)
got = {p.name: p.read_text() for p in (scratch / "got").rglob("*") if p.is_file()}
same("result", got.get("result.txt"), "done")
same("artifact", got.get("model.txt"), "weights")
assert "hello world hi" in got.get("std_log.txt", ""), got
done("job")

# a model of a job's output, and that model as the input of a job
client.models.create_or_update(Model(name="trained", path=f"azureml://jobs/{job.name}/outputs/artifacts/paths/outputs/", type="custom_model"))
use = client.jobs.create_or_update(command(
    command="cat ${{inputs.model}}/model.txt && ls ${{inputs.rows}}",
    inputs={
        "model": Input(type="custom_model", path="azureml:trained:1"),
        "rows": Input(type="mltable", path="azureml:rows:1", mode="ro_mount"),
    },
    environment="AzureML-sklearn-1.0-ubuntu20.04-py38-cpu@latest", compute=cluster,
))
same("job with assets", finish(use).status, "Completed")
client.jobs.download(use.name, download_path=str(scratch / "got-use"), all=True)
text = next((scratch / "got-use").rglob("std_log.txt")).read_text()
assert "weights" in text and "MLTable" in text, text
done("model and mltable as inputs")

# failure
gate, text = gated("bad", "echo to no avail; exit 3")
bad = client.jobs.create_or_update(command(command=text, environment="plain:1", compute=cluster))
with contextlib.redirect_stdout(Released(gate)) as text:
    why = refused("the stream of a failing job", lambda: client.jobs.stream(bad.name), Exception)
assert "3" in why and "to no avail" in text.getvalue(), (why, text.getvalue())
same("failed", client.jobs.get(bad.name).status, "Failed")
done("failed job")

# cancel
slow = client.jobs.create_or_update(command(command="sleep 600", environment="plain:1", compute=cluster))
same("newest", next(iter(client.jobs.list())).name, slow.name)
client.jobs.begin_cancel(slow.name).result()
same("canceled", finish(slow).status, "Canceled")
done("cancel")

# archive, update, list
client.jobs.archive(bad.name)
assert bad.name not in [j.name for j in client.jobs.list()], "archived job is listed"
assert bad.name in [j.name for j in client.jobs.list(list_view_type=ListViewType.ARCHIVED_ONLY)]
client.jobs.restore(bad.name)
assert bad.name in [j.name for j in client.jobs.list()]
job.tags["later"] = "yes"
job.display_name = "renamed"
same("updated", client.jobs.create_or_update(job).display_name, "renamed")
done("archive, update, list")

# the same file that az takes
write("job.yml", f"""$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json
command: ls ${{{{inputs.numbers}}}}
inputs:
  numbers:
    type: uri_folder
    path: numbers
    mode: download
environment: azureml:plain:1
compute: azureml:{cluster}
""")
job = client.jobs.create_or_update(load_job(scratch / "job.yml"))
same("job of a file", finish(job).status, "Completed")
client.jobs.download(job.name, download_path=str(scratch / "got-yaml"))
assert "table.csv" in next((scratch / "got-yaml").rglob("std_log.txt")).read_text()
done("YAML")

# pipeline job
write("pipeline.yml", f"""$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
type: pipeline
display_name: two steps
experiment_name: sdk
settings:
  default_compute: azureml:{cluster}
inputs:
  who: world
  table:
    type: uri_file
    path: azureml:table:1
outputs:
  greeting:
    type: uri_folder
jobs:
  make:
    command: while [ ! -e {scratch}/streamed-pipeline ]; do sleep 0.05; done; cp ${{{{inputs.table}}}} ${{{{outputs.rows}}}}/rows.csv
    environment: azureml:plain:1
    inputs:
      table: ${{{{parent.inputs.table}}}}
    outputs:
      rows:
  greet:
    component: greet.yml
    inputs:
      who: ${{{{parent.inputs.who}}}}
      rows: ${{{{parent.jobs.make.outputs.rows}}}}
    outputs:
      greeting: ${{{{parent.outputs.greeting}}}}
""")
write("greet.yml", """$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
name: greet
version: 1
type: command
command: (echo hello ${{inputs.who}}; wc -l < ${{inputs.rows}}/rows.csv) > ${{outputs.greeting}}/text.txt
environment: azureml:plain:1
inputs:
  who: {type: string}
  rows: {type: uri_folder}
  missing: {type: string, optional: true}
outputs:
  greeting: {type: uri_folder}
""")
job = client.jobs.create_or_update(load_job(scratch / "pipeline.yml"))
text = Released(scratch / "streamed-pipeline")
with contextlib.redirect_stdout(text):
    client.jobs.stream(job.name)
assert "Step make: submitted" in text.getvalue(), text.getvalue()
job = client.jobs.get(job.name)
same("pipeline", (job.status, job.display_name, job.type, sorted(job.jobs)), ("Completed", "two steps", "pipeline", ["greet", "make"]))
children = list(client.jobs.list(parent_job_name=job.name))
same("steps", [(c.display_name, c.status, c.properties["azureml.moduleName"]) for c in children], [("make", "Completed", "make"), ("greet", "Completed", "greet")])
same("a step", client.jobs.get(children[1].name).status, "Completed")
client.jobs.download(job.name, download_path=str(scratch / "got-pipeline"), output_name="greeting")
same("output of the pipeline", [p.read_text().split() for p in (scratch / "got-pipeline").rglob("text.txt")], [["hello", "world", "3"]])
client.jobs.archive(job.name)
client.jobs.restore(job.name)
(scratch / "broken.yml").write_text((scratch / "pipeline.yml").read_text().replace("command: while", "command: exit 3; while"))
broken = finish(client.jobs.create_or_update(load_job(scratch / "broken.yml")))
same("failed pipeline", broken.status, "Failed")
same("steps of it", [c.status for c in client.jobs.list(parent_job_name=broken.name)], ["Failed"])
done("pipeline")

# sweep job
write("tune/try.py", """
import json, os, sys, time, urllib.request
body = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": "loss", "value": float(sys.argv[1]), "timestamp": int(time.time() * 1000)}
urllib.request.urlopen(urllib.request.Request(
    os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric", data=json.dumps(body).encode(),
    headers={"Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"], "Content-Type": "application/json"}))
""")
write("sweep.yml", f"""$schema: https://azuremlschemas.azureedge.net/latest/sweepJob.schema.json
type: sweep
trial:
  command: python3 try.py ${{{{search_space.x}}}} && echo tried ${{{{inputs.who}}}} > ${{{{outputs.note}}}}/note.txt
  code: tune
  environment: azureml:plain:1
inputs:
  who: world
outputs:
  note:
    type: uri_folder
compute: azureml:{cluster}
sampling_algorithm: random
search_space:
  x:
    type: uniform
    min_value: 0.1
    max_value: 1.0
objective:
  goal: minimize
  primary_metric: loss
early_termination:
  type: bandit
  slack_amount: 1000
  evaluation_interval: 1
limits:
  max_total_trials: 3
  max_concurrent_trials: 2
  timeout: 3600
""")
job = finish(client.jobs.create_or_update(load_job(scratch / "sweep.yml")))
same("sweep", (job.status, job.type, job.limits.max_total_trials), ("Completed", "sweep", 3))
trials = [c.name for c in client.jobs.list(parent_job_name=job.name)]
same("trials", trials, [f"{job.name}_{n}" for n in range(3)])
assert job.properties["best_child_run_id"] in trials, job.properties
client.jobs.download(job.name, download_path=str(scratch / "got-sweep"), all=True)
same("output of the best trial", [p.read_text() for p in (scratch / "got-sweep").rglob("note.txt")], ["tried world\n"])
done("sweep")

# a pipeline in a pipeline, and a sweep in it
write("tune.yml", """$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
type: command
name: tune
version: "1"
command: python3 try.py ${{inputs.x}} && echo ${{inputs.x}} > ${{outputs.note}}/x.txt
code: tune
environment: azureml:plain:1
inputs:
  x:
    type: number
outputs:
  note:
    type: uri_folder
""")
tune = client.components.create_or_update(load_component(scratch / "tune.yml"))
same("component", (tune.name, tune.version, client.components.get("tune", "1").type), ("tune", "1", "command"))
assert "tune" in [c.name for c in client.components.list()]
write("copied.yml", """$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
type: command
name: copied
command: cp ${{inputs.from}}/x.txt ${{outputs.to}}/copy.txt
environment: azureml:plain:1
inputs:
  from:
    type: uri_folder
outputs:
  to:
    type: uri_folder
""")
write("copy.yml", """$schema: https://azuremlschemas.azureedge.net/latest/pipelineComponent.schema.json
type: pipeline
name: copy
version: "1"
inputs:
  note:
    type: uri_folder
outputs:
  copied:
    type: uri_folder
jobs:
  copy:
    type: command
    component: copied.yml
    inputs:
      from: ${{parent.inputs.note}}
    outputs:
      to: ${{parent.outputs.copied}}
""")
write("nested.yml", f"""$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
type: pipeline
settings:
  default_compute: azureml:{cluster}
jobs:
  search:
    type: sweep
    trial: azureml:tune:1
    sampling_algorithm: grid
    search_space:
      x:
        type: choice
        values: [3, 1, 2]
    objective:
      goal: minimize
      primary_metric: loss
    limits:
      max_total_trials: 3
      max_concurrent_trials: 3
    early_termination:
      type: median_stopping
      delay_evaluation: 5
    outputs:
      note:
        type: uri_folder
  inner:
    type: pipeline
    component: copy.yml
    inputs:
      note: ${{{{parent.jobs.search.outputs.note}}}}
    outputs:
      copied: ${{{{parent.outputs.copied}}}}
outputs:
  copied:
    type: uri_folder
""")
job = finish(client.jobs.create_or_update(load_job(scratch / "nested.yml")))
same("nested pipeline", (job.status, sorted(job.jobs)), ("Completed", ["inner", "search"]))
client.jobs.download(job.name, download_path=str(scratch / "got-nested"), output_name="copied")
same("output of the best trial, copied", [p.read_text() for p in (scratch / "got-nested").rglob("copy.txt")], ["1\n"])
done("nested pipeline")

print("all done")
