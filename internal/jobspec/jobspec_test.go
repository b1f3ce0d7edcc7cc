package jobspec

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// names resolves everything to a text that says what was asked for.
type names struct {
	root string
	fail string
}

func (n names) answer(what, id string) (string, error) {
	if n.fail == what {
		return "", errors.New("there is no such thing")
	}
	return what + "(" + strings.ReplaceAll(id, n.root, "ROOT") + ")", nil
}

func (n names) CodeID(_ context.Context, c Code) (string, error) {
	if c.Asset != nil {
		return n.answer("code", c.Asset.String())
	}
	return n.answer("code", c.Local+c.URL)
}

func (n names) EnvironmentID(_ context.Context, e Environment) (string, error) {
	if e.Asset != nil {
		return n.answer("environment", e.Asset.String())
	}
	text, err := json.Marshal(e.ToREST("CONTEXT"))
	if err != nil {
		return "", err
	}
	return n.answer("environment", string(text))
}

func (n names) ComputeID(_ context.Context, c Compute) (string, error) {
	return n.answer("compute", c.Name+c.ARMID)
}

func (n names) ComponentID(_ context.Context, ref *AssetRef, spec map[string]any) (string, error) {
	if ref != nil {
		return n.answer("component", ref.String())
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	return n.answer("component", string(text))
}

func (n names) InputURI(_ context.Context, name string, in Input) (string, error) {
	if in.Asset != nil {
		return n.answer("input", name+"="+in.Asset.String())
	}
	return n.answer("input", name+"="+in.Local+in.URI)
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	root, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			j, err := ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(j.Warnings) > 0 {
				t.Errorf("warnings: %v", j.Warnings)
			}
			body, err := j.ToREST(t.Context(), names{root: root})
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			enc := json.NewEncoder(&got)
			enc.SetIndent("", "  ")
			enc.SetEscapeHTML(false)
			if err := enc.Encode(body); err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".yml") + ".json"
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("%s:\n%s", golden, got.String())
			}
		})
	}
}

func TestProblems(t *testing.T) {
	text, err := os.ReadFile("testdata/errors.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range strings.Split(string(text), "\n=== ")[1:] {
		name, rest, _ := strings.Cut(c, "\n")
		// The last --- ends the file; one before it belongs to the file.
		i := strings.LastIndex("\n"+rest, "\n---\n")
		file, want := rest[:max(i, 0)], strings.TrimSpace(rest[i+4:])
		t.Run(name, func(t *testing.T) {
			j, err := Parse([]byte(file), Options{})
			if err == nil {
				t.Fatalf("no problems; got %+v", j)
			}
			if err.Error() != want {
				t.Errorf("got\n%s\nwant\n%s", err, want)
			}
		})
	}
}

func TestNotImplementedIsRecognised(t *testing.T) {
	for _, typ := range []string{"automl", "spark", "parallel", "import", "data_transfer"} {
		_, err := Parse([]byte("type: "+typ+"\n"), Options{})
		var p *Problem
		if !errors.Is(err, ErrNotImplemented) || !errors.As(err, &p) || p.Key != "type" {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestLocalPaths(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"jobs/job.yml": `command: x
environment: file:../env/env.yml
code: ../src
inputs:
  f: {type: uri_file, path: ../src/a.py}
  d: {path: file:../src, datastore: azureml:mine}
`,
		"env/env.yml": "name: mine\nimage: i\nconda_file: conda.yml\nbuilt: 1\n",
		"src/a.py":    "",
	})
	file := filepath.Join(dir, "jobs/job.yml")
	_, err := ParseFile(file)
	want := filepath.Join(dir, "env/env.yml") + ":3:13: environment.conda_file: there is no file or directory " + filepath.Join(dir, "env/conda.yml") + "\n" +
		filepath.Join(dir, "env/env.yml") + ":4:1: environment.built: unknown key (did you mean \"build\"?)"
	if err == nil || err.Error() != want {
		t.Fatalf("got\n%v\nwant\n%s", err, want)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("errors.Is(%v, fs.ErrNotExist) = false", err)
	}

	write(t, dir, map[string]string{
		"env/env.yml":   "name: mine\nimage: i\nconda_file: conda.yml\n",
		"env/conda.yml": "name: c\n",
	})
	j, err := ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if j.Environment.CondaFile != "name: c\n" || len(j.Warnings) != 1 || j.Warnings[0].Key != "environment.name" {
		t.Errorf("environment %+v, warnings %v", j.Environment, j.Warnings)
	}
	src := filepath.Join(dir, "src")
	uploads := []Upload{
		{Kind: "code", Path: src},
		{Kind: "input", Name: "d", Path: src, Datastore: "mine"},
		{Kind: "input", Name: "f", Path: filepath.Join(src, "a.py")},
	}
	if got := j.LocalUploads(); !reflect.DeepEqual(got, uploads) {
		t.Errorf("uploads %+v", got)
	}

	_, err = ParseFile(file, "inputs.f.path=../src", "inputs.d.path=../src/a.py", "code=../nowhere")
	for _, part := range []string{
		"--set inputs.f.path=../src: inputs.f.path: " + src + " is a directory, and a file is needed",
		"--set inputs.d.path=../src/a.py: inputs.d.path: " + filepath.Join(src, "a.py") + " is a file, and a directory is needed",
		"--set code=../nowhere: code: there is no file or directory " + filepath.Join(dir, "nowhere"),
	} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error lacks %q:\n%v", part, err)
		}
	}
	if _, err := ParseFile(filepath.Join(dir, "none.yml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestSet(t *testing.T) {
	const file = `command: x ${{inputs.lr}}
environment: azureml:e:1
inputs: &in {lr: 0.1, d: {path: "azureml:d:1"}}
tags: *in
resources: {locations: [a, b]}
`
	base := "tags={}"
	for _, c := range []struct {
		set  []string
		want func(j *Job) bool
		err  string
	}{
		{set: []string{"display_name=1", "description="}, want: func(j *Job) bool { return j.DisplayName == "1" && j.Description == "" }},
		{set: []string{"inputs.lr=0.5"}, want: func(j *Job) bool { return j.Inputs["lr"].Value == "0.5" }},
		{set: []string{"inputs.lr.value=1.50"}, want: func(j *Job) bool { return j.Inputs["lr"].Value == "1.5" }},
		{set: []string{"inputs.d.mode=download", "inputs.new=true"}, want: func(j *Job) bool {
			return j.Inputs["d"].Mode == "download" && j.Inputs["new"].Value == "True"
		}},
		{set: []string{"resources.instance_count=3", "resources.locations.1=c"}, want: func(j *Job) bool {
			return j.InstanceCount() == 3 && reflect.DeepEqual(j.Resources.Locations, []string{"a", "c"})
		}},
		{set: []string{"outputs.o.type=uri_file", "limits.timeout=60"}, want: func(j *Job) bool {
			return j.Outputs["o"].Type == "uri_file" && j.TimeoutSeconds == 60
		}},
		{set: []string{`tags={"a": 1, b: x}`}, want: func(j *Job) bool { return j.Tags["a"] == "1" && j.Tags["b"] == "x" }},
		{set: []string{"environment_variables.N=4", "environment_variables.E=a=b"}, want: func(j *Job) bool {
			return j.EnvironmentVariables["N"] == "4" && j.EnvironmentVariables["E"] == "a=b"
		}},
		{set: []string{"compute=azureml:gpu"}, want: func(j *Job) bool { return j.Compute.Name == "gpu" }},

		{set: []string{"display_name"}, err: "--set display_name: write --set key=value, or key.key=value for a key inside an object"},
		{set: []string{"resources.instance_count=lots"}, err: `--set resources.instance_count=lots: resources.instance_count: expected a whole number, found "lots"`},
		{set: []string{"resuorces.instance_count=1"}, err: `--set resuorces.instance_count=1: resuorces: unknown key (did you mean "resources"?)`},
		{set: []string{"command.x=1"}, err: "--set command.x=1: command.x: command is not an object"},
		{set: []string{"resources.locations.2=x"}, err: `--set resources.locations.2=x: resources.locations.2: resources.locations is a list of 2; "2" is not an index into it`},
		{set: []string{"tags={a"}, err: "--set tags={a: tags: the value begins like a YAML object or list and is none"},
		{set: []string{"a..b=1"}, err: "--set a..b=1: a..b: a part of the key is empty"},
	} {
		t.Run(strings.Join(c.set, " "), func(t *testing.T) {
			j, err := Parse([]byte(file), Options{Set: append([]string{base}, c.set...)})
			switch {
			case c.err != "":
				if err == nil || err.Error() != c.err {
					t.Errorf("error %v, want %s", err, c.err)
				}
			case err != nil:
				t.Error(err)
			case !c.want(j):
				t.Errorf("got %+v", j)
			}
		})
	}
	if _, err := Parse([]byte("command: x\nenvironment: azureml:e:1\nlimits:\n"), Options{Set: []string{"limits.timeout=1"}}); err != nil {
		t.Errorf("a key that is there without value: %v", err)
	}
	// A value that an anchor shares changes in one place alone.
	j, err := Parse([]byte("command: x\nenvironment: azureml:e:1\ntags: &t {a: b}\nproperties: *t\n"), Options{Set: []string{"properties.a=c"}})
	if err != nil {
		t.Fatal(err)
	}
	if j.Tags["a"] != "b" || j.Properties["a"] != "c" {
		t.Errorf("tags %v, properties %v", j.Tags, j.Properties)
	}
}

func TestMergeKeys(t *testing.T) {
	j, err := Parse([]byte(`command: x
environment: azureml:e:1
properties: &base {a: "1", b: "2"}
tags:
  <<: *base
  b: mine
`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"a": "1", "b": "mine"}; !reflect.DeepEqual(j.Tags, want) {
		t.Errorf("tags %v, want %v", j.Tags, want)
	}
}

func TestAliasesCannotBlowUp(t *testing.T) {
	var b strings.Builder
	b.WriteString("command: x\nenvironment: azureml:e:1\nresources:\n  properties:\n    a0: &a0 [x]\n")
	for i := 1; i < 30; i++ {
		prev := "*a" + strconv.Itoa(i-1)
		b.WriteString("    a" + strconv.Itoa(i) + ": &a" + strconv.Itoa(i) + " [" + prev + ", " + prev + ", " + prev + "]\n")
	}
	if _, err := Parse([]byte(b.String()), Options{}); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("error %v", err)
	}
	if _, err := Parse([]byte("command: x\nenvironment: azureml:e:1\nresources: &r {properties: {a: *r}}\n"), Options{}); err == nil {
		t.Error("an object inside itself was taken")
	}
}

func TestProblemsOfTheSubmitter(t *testing.T) {
	j, err := Parse([]byte("command: x\nenvironment: azureml:e:1\ncompute: azureml:c\ncode: .\ninputs:\n  d: {path: 'azureml:d:1'}\n"), Options{File: "j.yml"})
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{
		"code":        "j.yml:4:1: code: there is no such thing",
		"environment": "j.yml:2:1: environment: there is no such thing",
		"compute":     "j.yml:3:1: compute: there is no such thing",
		"input":       "j.yml:6:3: inputs.d: there is no such thing",
	} {
		_, err := j.ToREST(t.Context(), names{fail: what})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
	}
	if got := j.ProblemAt("limits", errors.New("x")).Error(); got != "j.yml: limits: x" {
		t.Error(got)
	}
}

func TestWarnings(t *testing.T) {
	j, err := Parse([]byte("command: x {inputs.a}\nenvironment: {image: i, version: '1'}\ncompute: cpu\ninputs: {a: 1}\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := `job.yml:1:12: command: {inputs.a} is deprecated and is not expanded here; write ${{inputs.a}}
job.yml:2:25: environment.version: not used: an environment defined in a job file is anonymous
job.yml:3:10: compute: write "azureml:cpu" to refer to a compute of the workspace`
	if j.Warnings.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", j.Warnings, want)
	}
}

func TestLiterals(t *testing.T) {
	for in, want := range map[string]string{
		"1": "1", "0x10": "16", "1_000": "1000", "0.10": "0.1", "1.0": "1.0", "1e-3": "1e-3", "1.0e-5": "1e-05",
		"1.5e+20": "1.5e+20", "123456789012345.6": "123456789012345.6", "-2.5": "-2.5", ".5": "0.5", ".inf": "inf", "-.inf": "-inf",
		"true": "True", "No": "False", "on": "True", `"yes"`: "yes", `"1.0"`: "1.0", "text": "text", "2024-01-02": "2024-01-02",
		"99999999999999999999": "99999999999999999999",
	} {
		j, err := Parse([]byte("command: x\nenvironment: azureml:e:1\ninputs: {a: "+in+"}\n"), Options{})
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := j.Inputs["a"].Value; got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestISODuration(t *testing.T) {
	for in, want := range map[int64]string{1: "PT1S", 60: "PT1M", 3600: "PT1H", 5400: "PT1H30M", 86400: "P1D", 90061: "P1DT1H1M1S"} {
		if got := isoDuration(in); got != want {
			t.Errorf("%d: %s, want %s", in, got, want)
		}
	}
}

func TestDefaultExperimentName(t *testing.T) {
	for in, want := range map[string]string{"/home/me/my project": "myproject", "/": "Default", "/a/b.c": "b"} {
		if got := DefaultExperimentName(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzParse looks for panics and for jobs that cannot be sent.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/golden/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "inputs.lr.value=1")
	}
	f.Add("a: &a [*a]\n", "a.0.b={c: d}")
	f.Add("<<: &x {<<: *x}\n", "")
	f.Fuzz(func(t *testing.T, text, set string) {
		var o Options
		if set != "" {
			o.Set = []string{set}
		}
		j, err := Parse([]byte(text), o)
		if err != nil {
			var ps Problems
			if !errors.As(err, &ps) || len(ps) == 0 {
				t.Fatalf("not Problems: %v", err)
			}
			return
		}
		if j.Command == "" && j.Pipeline == nil {
			t.Fatal("a job without command")
		}
		body, err := j.ToREST(t.Context(), names{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	})
}

func TestComponentFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"job.yml": `type: pipeline
jobs:
  a: {component: parts/c.yml, inputs: {rate: 1}}
  b: {component: file:parts/c.yml, inputs: {rows: "${{parent.jobs.a.outputs.out}}", rat: 1, rate: 1}, outputs: {o: }}
  c: {component: parts/d.yml}
  d: {component: parts/no.yml}
`,
		"parts/c.yml": "command: x ${{inputs.rows}}\nenvironment: azureml:e:1\ncode: src\ninputs:\n  rows: {type: uri_folder}\n  rate: {type: number}\noutputs:\n  out: {type: uri_folder}\n",
		"parts/d.yml": "type: parallel\n",
		"parts/src/x": "",
	})
	_, err := ParseFile(filepath.Join(dir, "job.yml"))
	if err == nil || !strings.Contains(err.Error(), "parts/d.yml:1:7: jobs.c.component.type: components of type parallel") || !strings.Contains(err.Error(), "job.yml:6:18: jobs.d.component: there is no file") {
		t.Errorf("got %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "job.yml"))
	if err != nil {
		t.Fatal(err)
	}
	cut := strings.Join(strings.Split(string(text), "\n")[:4], "\n") + "\n"
	_, err = Parse([]byte(cut), Options{Dir: dir})
	want := `job.yml:3:3: jobs.a: the component needs the input rows
job.yml:4:85: jobs.b.inputs.rat: the component has no such input (did you mean "rate"?)
job.yml:4:113: jobs.b.outputs.o: the component has no such output`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestNamesHaveALimit(t *testing.T) {
	for n, ok := range map[int]bool{255: true, 256: false} {
		_, err := Parse([]byte("command: x\nenvironment: azureml:e:1\nname: "+strings.Repeat("a", n)+"\n"), Options{})
		if (err == nil) != ok {
			t.Errorf("a name of %d letters: %v", n, err)
		}
	}
}
