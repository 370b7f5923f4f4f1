//! A Parquet file of rows. Rows are gathered up to a bound and then written
//! as one group, column by column.

use std::io::Write;
use std::mem;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::writer::{ColumnWriter, ColumnWriterImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::row::Row;

/// The columns, in the order in which [`Group::take`] fills them.
const SCHEMA: &str = "message events {
    required int64 position;
    required int64 recorded_at (TIMESTAMP(MICROS, true));
    required binary stream (STRING);
    optional binary submission (STRING);
    required int64 revision;
    required binary type (STRING);
    optional binary owner (STRING);
    optional binary name (STRING);
    optional binary country (STRING);
    optional double lat;
    optional double lon;
    optional int32 attempt;
    optional binary outcome (STRING);
    optional binary reasons (STRING);
    optional binary data (JSON);
}";

/// A group is written when it has so many rows, or so many bytes.
const GROUP_ROWS: usize = 64 * 1024;
const GROUP_BYTES: usize = 32 * 1024 * 1024;

/// The file. It can be read once it is finished, not before.
pub(super) struct ParquetFile<W: Write + Send> {
    file: SerializedFileWriter<W>,
    group: Group,
}

impl<W: Write + Send> ParquetFile<W> {
    pub(super) fn new(out: W) -> Result<Self> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
        Ok(Self { file, group: Group::default() })
    }

    pub(super) fn write(&mut self, row: &Row<'_>) -> Result<()> {
        self.group.take(row);
        if self.group.rows >= GROUP_ROWS || self.group.bytes >= GROUP_BYTES {
            self.write_group()?;
        }
        Ok(())
    }

    /// Writes what is left and the end of the file.
    pub(super) fn finish(mut self) -> Result<W> {
        if self.group.rows > 0 {
            self.write_group()?;
        }
        self.file.into_inner()
    }

    fn write_group(&mut self) -> Result<()> {
        let mut columns = mem::take(&mut self.group).columns.into_iter();
        let mut group = self.file.next_row_group()?;
        while let Some(mut writer) = group.next_column()? {
            let column = columns.next().unwrap_or_default();
            match (writer.untyped(), column.values) {
                (ColumnWriter::Int32ColumnWriter(writer), Values::Number(values)) => {
                    let values: std::result::Result<Vec<i32>, _> =
                        values.into_iter().map(i32::try_from).collect();
                    let values = values.map_err(|error| ParquetError::General(error.to_string()))?;
                    write(writer, &values, &column.present)?;
                }
                (ColumnWriter::Int64ColumnWriter(writer), Values::Number(values)) => {
                    write(writer, &values, &column.present)?;
                }
                (ColumnWriter::DoubleColumnWriter(writer), Values::Degrees(values)) => {
                    write(writer, &values, &column.present)?;
                }
                (ColumnWriter::ByteArrayColumnWriter(writer), Values::Text(values)) => {
                    write(writer, &values, &column.present)?;
                }
                _ => return Err(ParquetError::General("a column has another type than its values".into())),
            }
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }
}

/// Rows on their way, as columns.
#[derive(Default)]
struct Group {
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

/// The values that are there, and for each row whether it has one.
#[derive(Default)]
struct Column {
    values: Values,
    present: Vec<i16>,
}

#[derive(Default)]
enum Values {
    #[default]
    None,
    Number(Vec<i64>),
    Degrees(Vec<f64>),
    Text(Vec<ByteArray>),
}

/// One value of a row.
enum Cell<'a> {
    Number(Option<i64>),
    Degrees(Option<f64>),
    Text(Option<&'a str>),
}

impl Group {
    fn take(&mut self, row: &Row<'_>) {
        let number = |number: u64| Cell::Number(Some(i64::try_from(number).unwrap_or(i64::MAX)));
        let cells = [
            number(row.position),
            Cell::Number(Some(row.recorded_at.as_microsecond())),
            Cell::Text(Some(row.stream)),
            Cell::Text(row.submission.as_deref()),
            number(row.revision),
            Cell::Text(Some(row.r#type)),
            Cell::Text(row.owner),
            Cell::Text(row.name),
            Cell::Text(row.country),
            Cell::Degrees(row.lat),
            Cell::Degrees(row.lon),
            Cell::Number(row.attempt.map(i64::from)),
            Cell::Text(row.outcome),
            Cell::Text(row.reasons.as_deref()),
            Cell::Text(row.data),
        ];
        self.rows += 1;
        self.columns.resize_with(cells.len(), Column::default);
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            self.bytes += column.take(cell);
        }
    }
}

impl Column {
    /// Takes a cell, and says how many bytes it holds.
    fn take(&mut self, cell: Cell<'_>) -> usize {
        if let Values::None = self.values {
            self.values = match cell {
                Cell::Number(_) => Values::Number(Vec::new()),
                Cell::Degrees(_) => Values::Degrees(Vec::new()),
                Cell::Text(_) => Values::Text(Vec::new()),
            };
        }
        let bytes = match (&mut self.values, cell) {
            (Values::Number(values), Cell::Number(Some(number))) => {
                values.push(number);
                8
            }
            (Values::Degrees(values), Cell::Degrees(Some(degrees))) => {
                values.push(degrees);
                8
            }
            (Values::Text(values), Cell::Text(Some(text))) => {
                values.push(ByteArray::from(text));
                text.len()
            }
            _ => {
                self.present.push(0);
                return 0;
            }
        };
        self.present.push(1);
        bytes
    }
}

fn write<T: DataType>(writer: &mut ColumnWriterImpl<'_, T>, values: &[T::T], present: &[i16]) -> Result<()> {
    let optional = writer.get_descriptor().max_def_level() > 0;
    writer.write_batch(values, optional.then_some(present), None)?;
    Ok(())
}
