package cli

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/home"
	"github.com/azimuth-ml/azimuth/internal/server"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say whether a server runs and what it holds",
		Long:  "Say whether a server runs for this home and what it holds. Exits with 3 when none runs.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := a.home()
			if err != nil {
				return err
			}
			srv, err := d.ReadServer()
			if errors.Is(err, home.ErrNoServer) {
				if err := a.print("table", map[string]any{"running": false, "home": d}, func() *table {
					t := &table{header: []string{"home", "server"}}
					t.add(string(d), "not running")
					return t
				}); err != nil {
					return err
				}
				return &exitError{code: 3}
			}
			if err != nil {
				return err
			}
			s, err := a.session(cmd.Context(), d, srv)
			if err != nil {
				return err
			}
			defer s.close()
			var st server.Status
			if err := s.admin(cmd.Context(), http.MethodGet, "/v1/status", nil, &st); err != nil {
				return err
			}
			out := map[string]any{"running": true, "home": d, "server": srv, "status": st}
			return a.print("table", out, func() *table {
				t := &table{header: []string{"home", "server", "pid", "version", "runner", "resources", "nodes", "jobs waiting", "jobs running", "clock"}}
				clock := st.Now.Format(time.RFC3339)
				if st.ClockOffset != 0 {
					clock += fmt.Sprintf(" (+%s)", st.ClockOffset)
				}
				t.add(string(d), srv.Address, fmt.Sprint(srv.PID), srv.Version, srv.Runner, fmt.Sprint(st.Resources), fmt.Sprint(st.Nodes),
					fmt.Sprint(st.JobsWaiting), fmt.Sprint(st.JobsRunning), clock)
				return t
			})
		},
	}
}
