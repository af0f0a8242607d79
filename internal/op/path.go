package op

import "strings"

// PathParams returns the names of the parameters in the REST path, in order.
func (o *Op) PathParams() []string {
	var names []string
	for _, segment := range strings.Split(o.Path, "/") {
		if name, ok := strings.CutPrefix(segment, ":"); ok {
			names = append(names, name)
		}
	}
	return names
}
