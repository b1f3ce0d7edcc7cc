package cli

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/home"
	"github.com/azimuth-ml/azimuth/internal/server"
)

// leastFree is the free space below which doctor warns: enough for the store's
// journal and a few logs.
const leastFree = 256 << 20

func mebibytes(n uint64) string { return fmt.Sprintf("%d MiB", n>>20) }

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check this machine, the home and everything stored in it",
		Long: `Check this machine, the home and everything stored in it: the disk, the programs
that jobs and stacks need, the server, and every stored blob against its
checksum. Exits with 1 when something is wrong.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := a.home()
			if err != nil {
				return err
			}
			var checks []server.Check
			add := func(name string, err error, ok, fix string) {
				c := server.Check{Name: name, OK: err == nil, Detail: ok}
				if err != nil {
					c.Detail, c.Fix = err.Error(), fix
				}
				checks = append(checks, c)
			}
			add("home", d.Make(), string(d), "Choose another with --home or AZIMUTH_HOME.")
			free, err := d.Free()
			if err == nil && free < leastFree {
				err = fmt.Errorf("%s free", mebibytes(free))
			}
			add("disk", err, mebibytes(free)+" free", "Free some space: while the disk that holds the home is full, nothing can be written.")
			_, err = exec.LookPath("python3")
			add("python3", err, "found", "Install Python 3: most training scripts need it.")
			tf := "terraform"
			_, err = exec.LookPath(tf)
			if err != nil {
				tf = "tofu"
				_, err = exec.LookPath(tf)
			}
			if err != nil {
				checks = append(checks, server.Check{Name: "terraform", OK: true, Detail: "neither terraform nor tofu is on PATH; azimuth fetches OpenTofu when it is needed"})
			} else {
				add("terraform", nil, tf+" found", "")
			}
			srv, err := d.ReadServer()
			switch {
			case errors.Is(err, home.ErrNoServer):
				checks = append(checks, server.Check{Name: "server", OK: true, Detail: "not running; start it to check what is stored"})
			case err != nil:
				add("server", err, "", "Stop it (azimuth stop) and start it again.")
			default:
				s, err := a.session(cmd.Context(), d, srv)
				if err != nil {
					add("server", err, "", "Stop it (azimuth stop) and start it again.")
					break
				}
				defer s.close()
				var answer struct{ Checks []server.Check }
				err = s.admin(cmd.Context(), http.MethodPost, "/v1/check", nil, &answer)
				add("server", err, "answers on "+srv.Address, "Look at its log: "+d.Log())
				checks = append(checks, answer.Checks...)
			}
			bad := 0
			for _, c := range checks {
				if !c.OK {
					bad++
				}
			}
			if err := a.print("table", map[string]any{"checks": checks}, func() *table {
				st := a.style(a.stdout)
				t := &table{header: []string{"check", "result", "detail"}}
				for _, c := range checks {
					mark, detail := st.green("ok"), c.Detail
					if !c.OK {
						mark = st.red("wrong")
						if c.Fix != "" {
							detail += " — " + c.Fix
						}
					}
					t.add(c.Name, mark, detail)
				}
				return t
			}); err != nil {
				return err
			}
			if bad > 0 {
				return &exitError{code: exitFailure, err: fmt.Errorf("%s", plural(bad, "check failed", "checks failed"))}
			}
			return nil
		},
	}
}
