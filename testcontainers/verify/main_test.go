package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/testcontainers"
)

// asCommand makes this test binary the command.
const asCommand = "GLASSBOX_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// TestMistakes are told in one sentence, with exit code 2.
func TestMistakes(t *testing.T) {
	for want, args := range map[string]string{
		`there is no scenario "bliss"; there are baseline`: "--scenario bliss",
		"needs at least 3 nodes, not 2":                    "--nodes 2",
		"1 to 32 nodes, not 33":                            "--nodes 33",
		"at least 1, not 0":                                "--runs 0",
		`"baseline" is too much`:                           "baseline",
		"flag provided but not defined: -target":           "--target docker",
		`invalid value "many" for flag -nodes`:             "--nodes many",
	} {
		var out, errOut bytes.Buffer
		require.Equal(t, failed, run(t.Context(), strings.Fields(args), &out, &errOut), args)
		require.Contains(t, errOut.String(), want)
		require.Equal(t, 1, strings.Count(errOut.String(), "\n"), "%s", errOut.String())
		require.Empty(t, out.String())
	}
}

func TestHelp(t *testing.T) {
	var out, errOut bytes.Buffer
	require.Equal(t, passed, run(t.Context(), []string{"-h"}, &out, &errOut))
	require.Contains(t, errOut.String(), "-scenario scenario")
}

// TestWithoutDocker is a mistake too.
func TestWithoutDocker(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asCommand+"=1", "DOCKER_HOST=unix:///nonexistent/docker.sock")
	out, err := cmd.CombinedOutput()
	require.ErrorContains(t, err, "exit status 2")
	require.Contains(t, string(out), "verify: no Docker engine")
	require.Equal(t, 1, strings.Count(string(out), "\n"), "%s", out)
}

// TestWithoutMain: tests that need an engine in a package that forgot
// testcontainers.Main fail. Skipped, nobody would notice.
func TestWithoutMain(t *testing.T) {
	if os.Getenv(asForgetful) != "" {
		testcontainers.Need(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestWithoutMain$", "-test.v")
	cmd.Env = append(os.Environ(), asForgetful+"=1", "GLASSBOX_REQUIRE=")
	out, err := cmd.CombinedOutput()
	require.ErrorContains(t, err, "exit status 1")
	require.Contains(t, string(out), "call testcontainers.Main(m) in TestMain")
}

// asForgetful makes a test one that needs an engine.
const asForgetful = "GLASSBOX_TEST_FORGETFUL"

// TestWithoutReap: a program that would not become a reaper starts no cluster,
// even where there is an engine. The tests are such a program.
func TestWithoutReap(t *testing.T) {
	var out, errOut bytes.Buffer
	require.Equal(t, failed, run(t.Context(), nil, &out, &errOut))
	require.Contains(t, errOut.String(), "call testcontainers.Main(m) in TestMain, or testcontainers.Reap()")
}
