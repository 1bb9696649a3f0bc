//! The PostgREST API: request grammar -> schema -> plan -> SQL -> answer. Pure, except for loading the schema.
