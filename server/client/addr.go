package client

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// ParseAddr returns the HOST:PORT of a node, which may be written as a URL
// with nothing behind it: http://HOST:PORT/. Anything else is refused, since a
// token would go to wherever it leads.
func ParseAddr(text string) (string, error) {
	addr := strings.TrimSuffix(strings.TrimPrefix(text, "http://"), "/")
	u, err := url.Parse("http://" + addr)
	// A user, path or query would not be part of the host, and lead elsewhere.
	if err != nil || u.Host != addr || u.Hostname() == "" {
		return "", notAnAddress(text)
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
		return "", notAnAddress(text)
	}
	return addr, nil
}

func notAnAddress(text string) error {
	return errs.New(errs.BadParameter, "%q is not the address of a node; write HOST:PORT, such as 127.0.0.1:4000", text)
}
