package main

import (
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

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
			if err := s.cfg.Validate(); err != nil {
				return err
			}
			log := newLog(a.err, s.cfg)
			warnOfReaders(log, s.cfg)
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

// newLog makes the node's log, of settings that were checked.
func newLog(w io.Writer, cfg node.Config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.LogLevel)) // it is valid
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(w, options)
	if cfg.LogFormat == "json" {
		handler = slog.NewJSONHandler(w, options)
	}
	return slog.New(handler).With("node", cfg.Name)
}

// warnOfReaders tells of secrets that every user of this machine can read.
func warnOfReaders(log *slog.Logger, cfg node.Config) {
	for _, file := range []string{cfg.SecretFile, cfg.TokenFile} {
		// One that does not exist is the node's to refuse.
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o004 != 0 {
			log.Warn("the file can be read by every user of this machine; chmod o-rwx protects it", "file", file, "mode", info.Mode().Perm())
		}
	}
}
