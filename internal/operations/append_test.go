package operations_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/internal/operations"
)

// TestAppendedResults: results that write themselves write what encoding/json
// would.
func TestAppendedResults(t *testing.T) {
	holder := operations.Holder{Node: "n1", PID: `a"ä`}
	name := operations.HeldName{Name: "shop/\n<", Holder: holder, Value: json.RawMessage(`{"a":[1]}`), Epoch: 3, Registered: time.UnixMicro(1764000000123456).UTC()}
	for _, result := range []op.Appender{
		name, operations.Registered{HeldName: name, Created: true}, operations.Registered{HeldName: name, Replaced: true},
		operations.Holder{Node: "n1"}, operations.NameEvent{Holder: holder, Epoch: 1}, operations.NameEvent{Holder: holder, Winner: &operations.Holder{Node: "n2"}},
	} {
		want, err := jsontext.Marshal(result)
		require.NoError(t, err)
		require.Equal(t, string(want), string(result.AppendJSON(nil)))
	}
}
