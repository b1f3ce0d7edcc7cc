package cli

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func TestSpell(t *testing.T) {
	root := (&app{stdout: io.Discard, stderr: io.Discard}).root()
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"up DIR -var a=1 -var-file f.tfvars", "up DIR --var a=1 --var-file f.tfvars"},
		{"up -var-file=f -var=a=-1 DIR", "up --var-file=f --var=a=-1 DIR"},
		{"--home /h up -strict", "--home /h up --strict"},
		{"up -o json --var a -v x", "up -o json --var a -v x"},
		{"ml job create -f job.yml --set a.b=1 c=2 d=3 --stream", "ml job create -f job.yml --set a.b=1 --set c=2 --set d=3 --stream"},
		{"ml job create --set=a=1 b=2 -f job.yml", "ml job create --set=a=1 --set b=2 -f job.yml"},
		{"ml job create --set a=1 --set b=2", "ml job create --set a=1 --set b=2"},
		{"ml compute create -n c -i one two --tags a=1 b=2", "ml compute create -n c -i one --user-assigned-identities two --tags a=1 --tags b=2"},
		{"up --var a=1 DIR", "up --var a=1 DIR"},
		{"exec -- terraform plan -var a=1", "exec -- terraform plan -var a=1"},
		{"terraform plan -var a=1 -home", "terraform plan -var a=1 -home"},
		{"no such -var", "no such -var"},
	} {
		if got := strings.Join(spell(root, strings.Fields(c.in)), " "); got != c.want {
			t.Errorf("spell(%q) = %q, want %q", c.in, got, c.want)
		}
	}
	args := []string{"up", "-var", "a=b c"}
	spell(root, args)
	if !slices.Equal(args, []string{"up", "-var", "a=b c"}) {
		t.Errorf("spell changed its argument: %q", args)
	}
}
