package container

import (
	"context"
	"strings"
	"testing"
)

func TestReference(t *testing.T) {
	for image, want := range map[string]string{
		"python:3.12":              "docker.io/library/python:3.12",
		"library/python:3.12-slim": "docker.io/library/python:3.12-slim",
		"mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04": "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04",
		"localhost/mine:1":           "localhost/mine:1",
		"localhost:5000/mine":        "localhost:5000/mine",
		"registry:5000/a/b@sha256:1": "registry:5000/a/b@sha256:1",
	} {
		if got, err := Reference(image); err != nil || got != want {
			t.Errorf("Reference(%q) = %q, %v; want %q", image, got, err, want)
		}
	}
	for image, why := range map[string]string{
		"":             "not the name of an image",
		"--privileged": "not the name of an image",
		"a b":          "not the name of an image",
		"example.com/": "not the name of an image",
	} {
		if got, err := Reference(image); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("Reference(%q) = %q, %v; want %q", image, got, err, why)
		}
	}
}

// TestArguments holds that values of variables are not in arguments, which every user
// of the machine sees, and mean nothing to the engine's client.
func TestArguments(t *testing.T) {
	for _, e := range []*Engine{
		{Name: "podman", Path: "/podman", Env: []string{"HOME=/home/me"}, User: "0:0", Limited: true},
		{Name: "docker", Path: "/docker", User: "1000:1000"},
	} {
		cmd := e.Command(Container{
			Name: "n", Image: "i", Argv: []string{"train", "--fast"}, Env: []string{"TOKEN=secret", "HOME=/job", "no value"},
			Mounts: []Mount{{Path: "/a"}, {Path: "/b:c", ReadOnly: true}}, CPUs: 4096, MemoryBytes: 1 << 30, PIDs: 10,
		})
		args := strings.Join(cmd.Args, " ")
		for text, want := range map[string]bool{
			"secret": false, "/job": false, "--memory 1073741824": e.Limited, "--cpus 4096": false,
			"--volume /a:/a ": true, "--mount type=bind,source=/b:c,destination=/b:c,ro ": true, "--user " + e.User + " ": true,
			"--userns host": e.Name == "docker", "export TOKEN=\"$AZIMUTH_VALUE_0\"": true,
		} {
			if strings.Contains(args, text) != want {
				t.Errorf("%s: %q in arguments is %v: %s", e.Name, text, !want, args)
			}
		}
		if !strings.HasSuffix(args, " train --fast") {
			t.Errorf("arguments end otherwise: %s", args)
		}
		env := strings.Join(cmd.Env, " ")
		if !strings.Contains(env, "AZIMUTH_VALUE_0=secret") || strings.Contains(env, "HOME=/job AZ") || strings.HasPrefix(env, "HOME=/job") {
			t.Errorf("%s: environment is %q", e.Name, env)
		}
	}
}

func TestNoEngine(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Find(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "podman") && !strings.Contains(err.Error(), "Linux") {
		t.Errorf("Find: %v", err)
	}
}
