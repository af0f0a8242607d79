package harness

import "os/exec"

// Busy keeps one core busy until the returned function is called.
func Busy() (stop func(), err error) {
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	ended, err := startOwned(cmd)
	if err != nil {
		return nil, err
	}
	return func() {
		_ = cmd.Process.Kill() // it does not end by itself
		<-ended
	}, nil
}
