//! Writes rows into a Parquet file. Rows are collected up to a limit, and then written as one group, column by column.

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

use super::row::EventRow;

/// The columns, in the order in which [`RowGroup::take`] fills them.
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

/// The number of rows that completes a group.
const GROUP_ROWS: usize = 64 * 1024;

/// The number of bytes that completes a group.
const GROUP_BYTES: usize = 32 * 1024 * 1024;

/// A Parquet file. It can be read only after [`Self::finish`].
pub(super) struct ParquetFile<W: Write + Send> {
    file: SerializedFileWriter<W>,
    group: RowGroup,
}

impl<W: Write + Send> ParquetFile<W> {
    pub(super) fn new(out: W) -> Result<Self> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
        Ok(Self { file, group: RowGroup::default() })
    }

    pub(super) fn write(&mut self, row: &EventRow<'_>) -> Result<()> {
        self.group.take(row);
        if self.group.rows >= GROUP_ROWS || self.group.bytes >= GROUP_BYTES {
            self.write_group()?;
        }
        Ok(())
    }

    /// Writes the rows that are left, and the footer of the file.
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
                (ColumnWriter::Int32ColumnWriter(writer), ColumnValues::Number(values)) => {
                    let values: std::result::Result<Vec<i32>, _> =
                        values.into_iter().map(i32::try_from).collect();
                    let values = values.map_err(|error| ParquetError::General(error.to_string()))?;
                    write(writer, &values, &column.present)?;
                }
                (ColumnWriter::Int64ColumnWriter(writer), ColumnValues::Number(values)) => {
                    write(writer, &values, &column.present)?;
                }
                (ColumnWriter::DoubleColumnWriter(writer), ColumnValues::Degrees(values)) => {
                    write(writer, &values, &column.present)?;
                }
                (ColumnWriter::ByteArrayColumnWriter(writer), ColumnValues::Text(values)) => {
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

/// Rows that are not written yet, as columns.
#[derive(Default)]
struct RowGroup {
    columns: Vec<ColumnBuffer>,
    rows: usize,
    bytes: usize,
}

/// The values of a column, and for each row 1 if it has a value, else 0.
#[derive(Default)]
struct ColumnBuffer {
    values: ColumnValues,
    present: Vec<i16>,
}

#[derive(Default)]
enum ColumnValues {
    #[default]
    None,
    Number(Vec<i64>),
    Degrees(Vec<f64>),
    Text(Vec<ByteArray>),
}

/// The value of a row in one column.
enum CellValue<'a> {
    Number(Option<i64>),
    Degrees(Option<f64>),
    Text(Option<&'a str>),
}

impl RowGroup {
    fn take(&mut self, row: &EventRow<'_>) {
        let number = |number: u64| CellValue::Number(Some(i64::try_from(number).unwrap_or(i64::MAX)));
        let cells = [
            number(row.position),
            CellValue::Number(Some(row.recorded_at.as_microsecond())),
            CellValue::Text(Some(row.stream)),
            CellValue::Text(row.submission.as_deref()),
            number(row.revision),
            CellValue::Text(Some(row.r#type)),
            CellValue::Text(row.owner),
            CellValue::Text(row.name),
            CellValue::Text(row.country),
            CellValue::Degrees(row.lat),
            CellValue::Degrees(row.lon),
            CellValue::Number(row.attempt.map(i64::from)),
            CellValue::Text(row.outcome),
            CellValue::Text(row.reasons.as_deref()),
            CellValue::Text(row.data),
        ];
        self.rows += 1;
        self.columns.resize_with(cells.len(), ColumnBuffer::default);
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            self.bytes += column.take(cell);
        }
    }
}

impl ColumnBuffer {
    /// Adds a cell, and returns its size in bytes.
    fn take(&mut self, cell: CellValue<'_>) -> usize {
        if let ColumnValues::None = self.values {
            self.values = match cell {
                CellValue::Number(_) => ColumnValues::Number(Vec::new()),
                CellValue::Degrees(_) => ColumnValues::Degrees(Vec::new()),
                CellValue::Text(_) => ColumnValues::Text(Vec::new()),
            };
        }
        let bytes = match (&mut self.values, cell) {
            (ColumnValues::Number(values), CellValue::Number(Some(number))) => {
                values.push(number);
                8
            }
            (ColumnValues::Degrees(values), CellValue::Degrees(Some(degrees))) => {
                values.push(degrees);
                8
            }
            (ColumnValues::Text(values), CellValue::Text(Some(text))) => {
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
