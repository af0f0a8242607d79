package rpc

// The scanner walks JSON that is already known to be valid (encoding/json has
// checked it once), so it only has to find where values end. Decoding a message
// with encoding/json itself would look at every byte of the payload several
// times more.

// skipSpace returns the index of the first byte from i on that is no white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the index behind the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// skipValue returns the index behind the value that begins at i.
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		return skipNested(b, i)
	}
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && b[i] > ' ' {
		i++
	}
	return i
}

func skipNested(b []byte, i int) int {
	for depth := 0; ; i++ {
		switch b[i] {
		case '"':
			i = skipString(b, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

// eachMember calls f with each member of a valid object, the key with its
// quotes.
func eachMember(b []byte, f func(key, value []byte)) {
	for i := skipSpace(b, 0) + 1; ; {
		if i = skipSpace(b, i); b[i] == '}' {
			return
		}
		keyEnd := skipString(b, i)
		key := b[i:keyEnd]
		from := skipSpace(b, skipSpace(b, keyEnd)+1) // behind the colon
		to := skipValue(b, from)
		f(key, b[from:to])
		if i = skipSpace(b, to); b[i] == ',' {
			i++
		}
	}
}

// eachElement calls f with each element of a valid array.
func eachElement(b []byte, f func(value []byte)) {
	for i := skipSpace(b, 0) + 1; ; {
		if i = skipSpace(b, i); b[i] == ']' {
			return
		}
		to := skipValue(b, i)
		f(b[i:to])
		if i = skipSpace(b, to); b[i] == ',' {
			i++
		}
	}
}
