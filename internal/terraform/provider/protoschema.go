package provider

import "github.com/hashicorp/terraform-plugin-go/tfprotov5"

// protoSchema is the provider protocol's form of a schema.
func (k *kind) protoSchema() *tfprotov5.Schema {
	b := k.Attributes.protoBlock()
	b.Version = k.Version
	b.Deprecated = k.Deprecated != ""
	return &tfprotov5.Schema{Version: k.Version, Block: b}
}

func (as attributes) protoBlock() *tfprotov5.SchemaBlock {
	b := &tfprotov5.SchemaBlock{}
	for _, name := range as.names() {
		a := as[name]
		if a.Block {
			b.BlockTypes = append(b.BlockTypes, &tfprotov5.SchemaNestedBlock{
				TypeName: name,
				Block:    a.Attributes.protoBlock(),
				Nesting:  a.nesting(),
				MinItems: a.BlockMin,
				MaxItems: a.BlockMax,
			})
			continue
		}
		b.Attributes = append(b.Attributes, &tfprotov5.SchemaAttribute{
			Name:       name,
			Type:       a.tfType(),
			Required:   a.Required,
			Optional:   a.Optional,
			Computed:   a.Computed,
			Sensitive:  a.Sensitive,
			WriteOnly:  a.WriteOnly,
			Deprecated: a.Deprecated != "",
		})
	}
	return b
}

func (a *attribute) nesting() tfprotov5.SchemaNestedBlockNestingMode {
	switch a.Type {
	case "set":
		return tfprotov5.SchemaNestedBlockNestingModeSet
	case "object":
		return tfprotov5.SchemaNestedBlockNestingModeSingle
	}
	return tfprotov5.SchemaNestedBlockNestingModeList
}
