package clientenv_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/clientenv"
)

// nasty are values that a careless quoting breaks.
func nasty() []string {
	return []string{
		"", "plain", "two words", " edges ", "it's", `"quoted"`, `back\slash`, `\'`, "$HOME", "${x:-y}", "$(id)", "`id`", "a\nb", "a;b|c&d>e",
		"*?[a]~", "#no comment", "%PATH%", "!event", "tab\there", "é ü 漢字", "‘typographic’", "--flag", "=", "{\"a\":\"b'c\"}", "\r", "\\", "'",
	}
}

func render(t testing.TB, env *clientenv.Env, shell string) string {
	t.Helper()
	var b strings.Builder
	if err := env.Render(&b, shell); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// bySh has a real shell evaluate a rendering, and returns the environment that
// its children get.
func bySh(t testing.TB, sh, script string) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), sh, "-c", `eval "$0" && exec env -0`, script)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "STALE=1"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, kv := range bytes.Split(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
		name, value, _ := strings.Cut(string(kv), "=")
		got[name] = value
	}
	return got
}

func TestRenderSh(t *testing.T) {
	env := &clientenv.Env{Vars: map[string]string{}, Unset: []string{"STALE", "NEVER_SET"}}
	for i, v := range nasty() {
		env.Vars[fmt.Sprintf("V%d", i)] = v
	}
	for _, name := range []string{"sh", "bash", "dash"} {
		sh, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		got := bySh(t, sh, render(t, env, "sh"))
		for name, want := range env.Vars {
			if have, ok := got[name]; !ok || have != want {
				t.Errorf("%s: %s = %q, want %q", sh, name, have, want)
			}
		}
		if _, ok := got["STALE"]; ok {
			t.Errorf("%s: STALE is still set", sh)
		}
	}
}

func FuzzRenderSh(f *testing.F) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		f.Skip(err)
	}
	for _, v := range nasty() {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if strings.ContainsRune(v, 0) {
			return
		}
		env := &clientenv.Env{Vars: map[string]string{"V": v}}
		if got := bySh(t, sh, render(t, env, "sh"))["V"]; got != v {
			t.Errorf("%q became %q", v, got)
		}
	})
}

func TestRenderOthers(t *testing.T) {
	for _, c := range []struct{ shell, value, want string }{
		{"fish", "plain", "set -gx V 'plain'\n"},
		{"fish", `it's \ $HOME (id)`, `set -gx V 'it\'s \\ $HOME (id)'` + "\n"},
		{"powershell", "plain", "$env:V = 'plain'\n"},
		{"powershell", "it's $HOME `id`", "$env:V = 'it''s $HOME `id`'\n"},
		{"powershell", "‘x’", "$env:V = '‘‘x’’'\n"},
		{"dotenv", "http://127.0.0.1:4443", "V=http://127.0.0.1:4443\n"},
		{"dotenv", "", "V=\n"},
		{"dotenv", "two $words", "V='two $words'\n"},
		{"dotenv", "it's $1\n\"`\\", `V="it's \$1\n\"` + "\\`" + `\\"` + "\n"},
	} {
		if got := render(t, &clientenv.Env{Vars: map[string]string{"V": c.value}}, c.shell); got != c.want {
			t.Errorf("%s: %q became %q, want %q", c.shell, c.value, got, c.want)
		}
	}
	for shell, want := range map[string]string{"fish": "set -e OLD\n", "powershell": "Remove-Item Env:OLD -ErrorAction SilentlyContinue\n", "dotenv": ""} {
		if got := render(t, &clientenv.Env{Unset: []string{"OLD"}}, shell); got != want {
			t.Errorf("%s: %q, want %q", shell, got, want)
		}
	}
	env := &clientenv.Env{Vars: map[string]string{}, Unset: []string{"OLD"}}
	for i, v := range nasty() {
		env.Vars[fmt.Sprintf("V%d", i)] = v
	}
	var doc map[string]*string
	if err := json.Unmarshal([]byte(render(t, env, "json")), &doc); err != nil {
		t.Fatal(err)
	}
	if old, ok := doc["OLD"]; !ok || old != nil {
		t.Errorf("OLD = %v, %v", old, ok)
	}
	delete(doc, "OLD")
	got := map[string]string{}
	for name, v := range doc {
		got[name] = *v
	}
	if !maps.Equal(got, env.Vars) {
		t.Errorf("%q, want %q", got, env.Vars)
	}
}

func TestRenderRefuses(t *testing.T) {
	for _, c := range []struct{ shell, name, value string }{
		{"tcsh", "V", "x"}, {"sh", "A;rm -rf", "x"}, {"sh", "", "x"}, {"sh", "1V", "x"}, {"sh", "V", "a\x00b"},
	} {
		var b strings.Builder
		if err := (&clientenv.Env{Vars: map[string]string{c.name: c.value}}).Render(&b, c.shell); err == nil || b.Len() > 0 {
			t.Errorf("%q: %v, %q", c, err, b.String())
		}
	}
}

func TestApply(t *testing.T) {
	env := &clientenv.Env{Vars: map[string]string{"B": "new", "A": "1"}, Unset: []string{"OLD"}}
	got := strings.Join(env.Apply([]string{"PATH=/bin", "B=old", "OLD=x", "OLDER=y"}), " ")
	if got != "PATH=/bin OLDER=y A=1 B=new" {
		t.Error(got)
	}
}
