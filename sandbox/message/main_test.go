package message_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain makes the test binary the program that is talked to.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "program" {
		program()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// program answers on its standard output; what it does is the method's name.
func program() {
	in := bufio.NewReader(os.Stdin)
	say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	held := json.RawMessage("0")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		var m struct {
			ID     json.RawMessage
			Method string
			Params json.RawMessage
			Error  *struct{ Code int }
		}
		if json.Unmarshal([]byte(line), &m) != nil {
			say("not understood: %s", strings.TrimSuffix(line, "\n"))
			continue
		}
		switch m.Method {
		case "echo":
			say(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, m.Params)
		case "fail":
			say(`{"jsonrpc":"2.0","id":%s,"result":null,"error":{"code":-32050,"message":"no","data":{"a":[1]}}}`, m.ID)
		case "hold": // answered when "release" comes
			held = m.ID
		case "release":
			say(`{"jsonrpc":"2.0","id":%s,"result":"held"}`, held)
			say(`{"jsonrpc":"2.0","id":%s,"result":"released"}`, m.ID)
		case "ask":
			say(`{"jsonrpc":"2.0","id":"mine","method":"roots/list"}`)
			held = m.ID
		case "talk":
			say(`{"jsonrpc":"2.0","method":"progress","params":{"n":1}}`)
			say("Traceback: all is well")
			say(`{"jsonrpc":"2.0","id":999999,"result":1}`)
			say(`{"jsonrpc":"2.0","id":%s,"result":true}`, m.ID)
		case "odd":
			say(`{"jsonrpc":"2.0","id":%s,"error":"just text"}`, m.ID)
		case "deep":
			say(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, strings.Repeat("[", 600)+strings.Repeat("]", 600))
		case "long":
			say("%s", strings.Repeat("x", 2<<20))
			held = m.ID
		case "exit":
			os.Exit(3)
		case "deaf": // reads no more
			say(`{"jsonrpc":"2.0","id":%s,"result":true}`, m.ID)
			select {}
		case "": // the answer to "ask"
			if m.Error != nil {
				say(`{"jsonrpc":"2.0","id":%s,"result":%d}`, held, m.Error.Code)
			}
		case "noted":
			say(`{"jsonrpc":"2.0","method":"noted","params":%s}`, m.Params)
		}
	}
}
