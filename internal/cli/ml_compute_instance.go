package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/instance"
)

// computeActions are the commands for one compute instance.
func (a *app) computeActions(f *mlFlags) []*cobra.Command {
	var all []*cobra.Command
	for _, c := range []struct{ name, short, done string }{
		{"start", "Start a compute instance", "started"},
		{"stop", "Stop a compute instance; notebooks are kept", "stopped"},
		{"restart", "Restart a compute instance", "restarted"},
	} {
		var name string
		cmd := &cobra.Command{
			Use: c.name + " -n NAME", Short: c.short, Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
					if err := s.client.Do(cmd.Context(), http.MethodPost, computePath(ws, name)+"/"+c.name, mlAPI, nil, nil); err != nil {
						return err
					}
					fmt.Fprintf(a.stderr, "%s compute instance %s\n", c.done, name)
					return nil
				})
			},
		}
		cmd.Flags().StringVarP(&name, "name", "n", "", "name of the compute instance")
		cmd.MarkFlagRequired("name")
		all = append(all, cmd)
	}
	return append(all, a.computeConnect(f))
}

func (a *app) computeConnect(f *mlFlags) *cobra.Command {
	var name string
	var open bool
	cmd := &cobra.Command{
		Use:   "connect [-n] NAME",
		Short: "Print a link that opens Jupyter on a compute instance in your browser",
		Long: `Print a link that opens Jupyter on a compute instance. It works in any browser
on this machine, once, and within five minutes; the browser then stays signed in
for twelve hours.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && name == "":
				name = args[0]
			case len(args) == 1 || name == "":
				return usagef("name one compute instance")
			}
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				link, err := s.instanceLink(cmd.Context(), computePath(ws, name), name)
				if err != nil {
					return err
				}
				if open {
					if err := openBrowser(cmd.Context(), link.URL); err != nil {
						fmt.Fprintln(a.stdout, link.URL)
						return fmt.Errorf("open a browser: %w", err)
					}
					fmt.Fprintf(a.stderr, "opened Jupyter of %s in your browser\n", name)
					return nil
				}
				if a.output == "json" {
					return a.print("json", link, nil)
				}
				fmt.Fprintln(a.stdout, link.URL)
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&name, "name", "n", "", "name of the compute instance")
	cmd.Flags().BoolVar(&open, "open", false, "open the link in your browser")
	return cmd
}

const (
	jupyterPatience = 15 * time.Second
	jupyterEvery    = 100 * time.Millisecond
)

// instanceLink gets a link to an instance, once it has something to open.
func (s *session) instanceLink(ctx context.Context, path, name string) (*instance.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, jupyterPatience)
	defer cancel()
	for {
		var c arm.Doc
		if err := s.client.Do(ctx, http.MethodGet, path, mlAPI, nil, &c); err != nil {
			return nil, err
		}
		const p = "properties.properties."
		state := c.String(p + "state")
		switch {
		case c.String("properties.computeType") != typeInstance:
			return nil, fmt.Errorf("compute %s is of type %s: only a compute instance can be connected to", name, c.String("properties.computeType"))
		case state == "Stopped", state == "Stopping":
			return nil, hint(fmt.Errorf("compute instance %s is %s", name, state), "Start it: azimuth ml compute start -n %s", name)
		}
		if apps := c.List(p + "applications"); len(apps) > 0 {
			app, _ := apps[0].(map[string]any)
			u, err := url.Parse(arm.Doc(app).String("endpointUri"))
			if err != nil {
				return nil, fmt.Errorf("the address of compute instance %s: %w", name, err)
			}
			link := new(instance.Link)
			return link, s.client.DoURL(ctx, http.MethodPost, "https://"+u.Host+instance.LinkPath, nil, link)
		}
		if problems := c.List(p + "errors"); len(problems) > 0 {
			first, _ := problems[0].(map[string]any)
			return nil, errors.New(arm.Doc(first).String("error.message"))
		}
		select {
		case <-time.After(jupyterEvery):
		case <-ctx.Done():
			return nil, fmt.Errorf("compute instance %s is %s and runs no Jupyter yet", name, state)
		}
	}
}

// openBrowser opens a URL with the program that the system has for it.
func openBrowser(ctx context.Context, target string) error {
	names := []string{"xdg-open", "wslview"}
	if runtime.GOOS == "darwin" {
		names = []string{"open"}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return exec.CommandContext(ctx, path, target).Run()
		}
	}
	return fmt.Errorf("there is no %s on this machine; open the link yourself", names[0])
}
