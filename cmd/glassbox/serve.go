package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/node"
)

// serve runs one node.
func (a *app) serve() *cobra.Command {
	s := newSettings(node.DefaultConfig())
	cmd := &cobra.Command{
		Use: "serve", Short: "Run one node", GroupID: "run", Args: exactly(),
		Long: "Runs one node until it is interrupted; then it stops its sandboxes, says goodbye and ends.\n" +
			"Every flag is also an environment variable (--secret-file: GLASSBOX_SECRET_FILE) and a key of\n" +
			"the file of --config (secret_file); flags win over the environment, the environment over the file.",
		Example: "  glassbox serve --name n1 --rpc 127.0.0.1:4100 --peer n2=127.0.0.1:4101\n" +
			"  glassbox serve --config node.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := s.resolve(a.getenv); err != nil {
				return err
			}
			log, err := newLog(a.err, s.cfg)
			if err != nil {
				return err
			}
			return runNode(cmd.Context(), s.cfg, log)
		},
	}
	cmd.Flags().AddFlagSet(s.flags)
	cmd.Flags().SortFlags = false
	return cmd
}

// runNode runs a node and logs its stages.
func runNode(ctx context.Context, cfg node.Config, log *slog.Logger) error {
	n, err := node.New(cfg, buildVersion(), log)
	if err != nil {
		return err
	}
	log.Info("listening", "http", n.HTTP(), "rpc", n.RPC())
	if err := n.Run(ctx); err != nil {
		return err
	}
	log.Info("ended")
	return nil
}

// newLog makes the node's log.
func newLog(w io.Writer, cfg node.Config) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return nil, errs.BadParam("log_level", "debug, info, warn or error, not %q", cfg.LogLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(w, options)
	if cfg.LogFormat == "json" {
		handler = slog.NewJSONHandler(w, options)
	}
	return slog.New(handler).With("node", cfg.Name), nil
}
