package exec

// forest knows which process belongs to which tree. A tree is a root and its
// descendants. A descendant whose parent ends falls to the keeper (the
// guardian, or the node after it) and is then told by what was known of it, by
// its session, or by what it shows: its brand, or the mark in its environment.
//
// It is pure: it judges tables, and asks for marks through a function.
type forest struct {
	keeper int // the process to which orphans fall
	roots  map[int]string
	known  map[identity]string // members seen, by tree
	mark   func(p proc) string // the tree a process shows to be of
}

func newForest(keeper int, mark func(p proc) string) *forest {
	return &forest{keeper: keeper, roots: make(map[int]string), known: make(map[identity]string), mark: mark}
}

// plant makes a process the root of a tree.
func (f *forest) plant(tree string, root identity) {
	f.roots[root.PID] = tree
	f.known[root] = tree
}

// fell forgets a tree of which nothing is left.
func (f *forest) fell(tree string) {
	for pid, t := range f.roots {
		if t == tree {
			delete(f.roots, pid)
		}
	}
	for id, t := range f.known {
		if t == tree {
			delete(f.known, id)
		}
	}
}

// census is what a forest makes of a table.
type census struct {
	trees  map[string][]proc // the members of each tree, roots and zombies included
	strays []proc            // orphans and their descendants that belong to no tree
}

// count attributes the keeper's descendants. Nothing else is ever a member: a
// process elsewhere that got a used pid or session is safe.
func (f *forest) count(t table) census {
	c := census{trees: make(map[string][]proc)}
	children := t.children()
	sessions := f.sessions(t)
	known := make(map[identity]string)
	for id, tree := range f.known { // a member that this snapshot lost the way to
		if t[id.PID].identity == id {
			known[id] = tree
		}
	}
	for _, orphan := range children[f.keeper] {
		tree := f.treeOf(orphan, sessions)
		for _, p := range lineage(orphan, children) {
			if tree == "" {
				c.strays = append(c.strays, p)
				continue
			}
			c.trees[tree] = append(c.trees[tree], p)
			known[p.identity] = tree
		}
	}
	f.known = known
	return c
}

// sessions maps each session of a known member to its tree. A session's number
// is not given to another while a process is in it.
func (f *forest) sessions(t table) map[int]string {
	m := make(map[int]string)
	for pid, tree := range f.roots {
		m[pid] = tree
	}
	for id, tree := range f.known {
		if p, ok := t[id.PID]; ok && p.identity == id {
			m[p.session] = tree
		}
	}
	delete(m, t[f.keeper].session) // a child of the keeper's that is not ours may be in it
	return m
}

// treeOf attributes a child of the keeper; "" means to none.
func (f *forest) treeOf(p proc, sessions map[int]string) string {
	if tree := f.known[p.identity]; tree != "" {
		return tree
	}
	if tree := sessions[p.session]; tree != "" {
		return tree
	}
	mark := f.mark(p)
	for _, tree := range f.roots {
		if tree == mark {
			return tree
		}
	}
	return ""
}

// elusive lists the members in sessions of their own: a mark they could have
// lost, and their session does not give them away.
func (f *forest) elusive(c census) []identity {
	var ids []identity
	for _, members := range c.trees {
		for _, p := range members {
			if _, rooted := f.roots[p.session]; !rooted && !p.dead {
				ids = append(ids, p.identity)
			}
		}
	}
	return ids
}

// lineage returns a process and all its descendants.
func lineage(p proc, children map[int][]proc) []proc {
	all := []proc{p}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].PID]...)
	}
	return all
}
