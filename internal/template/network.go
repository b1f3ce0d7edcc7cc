package template

import (
	"math/big"
	"net/netip"
)

func networkFunctions() map[string]builtin {
	return map[string]builtin{
		"parsecidr": {1, 1, func(_ *scope, _ string, args []any) (any, error) {
			p, err := prefixAt(args)
			if err != nil {
				return nil, err
			}
			first, last := p.Addr(), lastOf(p)
			out := map[string]any{"network": first.String(), "cidr": int64(p.Bits()), "firstUsable": first.String(), "lastUsable": last.String()}
			if p.Addr().Is4() {
				out["netmask"] = mask(p)
				out["broadcast"] = last.String()
				if p.Bits() < 31 {
					out["firstUsable"], out["lastUsable"] = first.Next().String(), last.Prev().String()
				}
			}
			return out, nil
		}},
		"cidrsubnet": {3, 3, func(_ *scope, _ string, args []any) (any, error) {
			p, err := prefixAt(args)
			if err != nil {
				return nil, err
			}
			bits, err := intAt(args, 1)
			if err != nil {
				return nil, err
			}
			index, err := intAt(args, 2)
			if err != nil {
				return nil, err
			}
			width := int64(p.Addr().BitLen())
			if bits < int64(p.Bits()) || bits > width || index < 0 || bits-int64(p.Bits()) < 62 && index >= 1<<(bits-int64(p.Bits())) {
				return nil, wrong("was asked for subnet %d of /%d in %s, which is not there", index, bits, p)
			}
			a := addTo(p.Addr(), new(big.Int).Lsh(big.NewInt(index), uint(width-bits)))
			return netip.PrefixFrom(a, int(bits)).String(), nil
		}},
		"cidrhost": {2, 2, func(_ *scope, _ string, args []any) (any, error) {
			p, err := prefixAt(args)
			if err != nil {
				return nil, err
			}
			index, err := intAt(args, 1)
			if err != nil {
				return nil, err
			}
			// index 0 is the first usable address: the network's own is left out
			a := addTo(p.Addr(), big.NewInt(index+1))
			if index < 0 || !p.Contains(a) {
				return nil, wrong("was asked for host %d of %s, which is not there", index, p)
			}
			return a.String(), nil
		}},
	}
}

func prefixAt(args []any) (netip.Prefix, error) {
	s, err := stringAt(args, 0)
	if err != nil {
		return netip.Prefix{}, err
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, wrong("expects argument 1 to be an address range. It is '%s'", shorten(s))
	}
	return p.Masked(), nil
}

func addTo(a netip.Addr, n *big.Int) netip.Addr {
	b := a.AsSlice()
	sum := new(big.Int).Add(new(big.Int).SetBytes(b), n)
	if sum.BitLen() > len(b)*8 {
		return netip.Addr{}
	}
	out, _ := netip.AddrFromSlice(sum.FillBytes(make([]byte, len(b))))
	return out
}

func lastOf(p netip.Prefix) netip.Addr {
	n := new(big.Int).Lsh(big.NewInt(1), uint(p.Addr().BitLen()-p.Bits()))
	return addTo(p.Addr(), n.Sub(n, big.NewInt(1)))
}

func mask(p netip.Prefix) string {
	m := ^uint32(0) << (32 - p.Bits())
	if p.Bits() == 0 {
		m = 0
	}
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
}
