package netfault

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Where the addresses are in the header of IPv4.
const (
	sourceOffset      = 12
	destinationOffset = 16
)

// Apply replaces the rules in force by these, in one transaction: there is no
// moment without either. It needs CAP_NET_ADMIN and touches one table of its
// own.
func Apply(rules []Rule) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("speak with the kernel's nftables: %w", err)
	}
	table := &nftables.Table{Name: "glassbox_faults", Family: nftables.TableFamilyIPv4}
	c.AddTable(table) // so that there is one to delete
	c.DelTable(table)
	if len(rules) > 0 {
		c.AddTable(table)
		in, out := addChain(c, table, "in", nftables.ChainHookInput), addChain(c, table, "out", nftables.ChainHookOutput)
		for _, r := range rules {
			if r.In {
				c.AddRule(&nftables.Rule{Table: table, Chain: in, Exprs: r.expressions(sourceOffset)})
			}
			if r.Out {
				c.AddRule(&nftables.Rule{Table: table, Chain: out, Exprs: r.expressions(destinationOffset)})
			}
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("set the rules of nftables (it needs CAP_NET_ADMIN and the kernel's module nf_tables): %w", err)
	}
	return nil
}

func addChain(c *nftables.Conn, table *nftables.Table, name string, hook *nftables.ChainHook) *nftables.Chain {
	return c.AddChain(&nftables.Chain{
		Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter,
	})
}

// expressions match packets with the peer's address at an offset of the header,
// all of them or a share at random, and drop them.
func (r Rule) expressions(offset uint32) []expr.Any {
	list := []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Cmp{Register: 1, Op: expr.CmpOpEq, Data: r.Peer.AsSlice()},
	}
	if r.Loss > 0 {
		list = append(list, chance(r.Loss)...)
	}
	return append(list, &expr.Verdict{Kind: expr.VerdictDrop})
}

// chance matches a share of all packets. Registers are compared as bytes, so
// the number drawn is put into the order of the network first.
func chance(share float64) []expr.Any {
	const all = math.MaxInt32
	return []expr.Any{
		&expr.Numgen{Register: 1, Modulus: all, Type: unix.NFT_NG_RANDOM},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Register: 1, Op: expr.CmpOpLt, Data: binary.BigEndian.AppendUint32(nil, uint32(share*all))},
	}
}
