package operations

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/glassbox-dev/glassbox/internal/op"
)

// Info is what the documents made from the table say of it.
func Info(version string) op.Info {
	return op.Info{
		Title: "Glassbox", Version: version,
		Description: "A clustered sandbox server you can see into.",
	}
}

func discoverOps(d Deps) []*op.Op {
	return []*op.Op{
		op.Define(op.Spec{
			Name: "rpc.discover", Summary: "Describe all operations as an OpenRPC document", Method: http.MethodGet, Path: "/openrpc.json",
			Effect: op.Read, Runs: op.Anywhere, Early: true,
			Examples: []op.Example{{Summary: "the document", Params: `{}`}},
		}, func(context.Context, struct{}) (json.RawMessage, error) {
			return d.Table().OpenRPC(Info(d.Version))
		}),
	}
}
