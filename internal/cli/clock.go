package cli

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/server"
)

func (a *app) clockCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "clock", Short: "Show the cloud's clock, or move it forward"}
	show := func(c server.ClockStatus) error {
		return a.print("table", c, func() *table {
			t := &table{header: []string{"now", "ahead of this machine"}}
			t.add(c.Now.Format(time.RFC3339), c.Offset.String())
			return t
		})
	}
	cmd.AddCommand(&cobra.Command{
		Use: "show", Short: "Show the cloud's time", Args: noArgs,
		RunE: a.withSession(func(ctx context.Context, s *session, _ []string) error {
			var c server.ClockStatus
			if err := s.admin(ctx, http.MethodGet, "/v1/clock", nil, &c); err != nil {
				return err
			}
			return show(c)
		}),
	}, &cobra.Command{
		Use: "advance DURATION", Short: "Move the cloud's clock forward",
		Long: `Move the cloud's clock forward, so that idle nodes leave, tokens expire and
retention passes. Waits until what became due has been done. The clock never
goes back.`,
		Example: "  azimuth clock advance 16m",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("advance takes one duration, such as 20m")
			}
			d, err := time.ParseDuration(args[0])
			if err != nil {
				return usagef("%q is not a duration such as 90s, 20m or 36h", args[0])
			}
			if d <= 0 {
				return usagef("the clock only goes forward: %s is not a positive duration", args[0])
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			var c server.ClockStatus
			if err := s.admin(cmd.Context(), http.MethodPost, "/v1/clock/advance", server.Advance{By: d.String()}, &c); err != nil {
				return fmt.Errorf("advance the clock: %w", err)
			}
			return show(c)
		},
	})
	return cmd
}
