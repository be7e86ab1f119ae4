package io.moebius.edge.example

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.ColorSpace
import android.graphics.ImageDecoder
import android.net.Uri
import io.moebius.edge.Photo
import java.io.IOException

/** A photo in a mutable bitmap of 8 bits per channel; as a sink it is changed in place. Rows are read as they are needed. */
class BitmapPhoto(val bitmap: Bitmap) : Photo, Photo.Sink {
    private var pixels = IntArray(0)

    override fun width() = bitmap.width

    override fun height() = bitmap.height

    override fun readRow(left: Int, y: Int, count: Int, rgb: ByteArray) {
        load(left, y, count)
        for (i in 0 until count) {
            val pixel = pixels[i]
            rgb[3 * i] = (pixel shr 16).toByte()
            rgb[3 * i + 1] = (pixel shr 8).toByte()
            rgb[3 * i + 2] = pixel.toByte()
        }
    }

    override fun hasAlpha() = bitmap.hasAlpha()

    override fun readAlpha(left: Int, y: Int, count: Int, alpha: ByteArray) {
        load(left, y, count)
        for (i in 0 until count) alpha[i] = (pixels[i] ushr 24).toByte()
    }

    override fun writeRow(left: Int, y: Int, count: Int, rgb: ByteArray) {
        load(left, y, count)
        for (i in 0 until count) {
            val alpha = pixels[i] and (0xFF shl 24)
            val red = rgb[3 * i].toInt() and 0xFF
            val green = rgb[3 * i + 1].toInt() and 0xFF
            val blue = rgb[3 * i + 2].toInt() and 0xFF
            pixels[i] = alpha or (red shl 16) or (green shl 8) or blue
        }
        bitmap.setPixels(pixels, 0, count, left, y, count, 1)
    }

    private fun load(left: Int, y: Int, count: Int) {
        if (pixels.size < count) pixels = IntArray(count)
        bitmap.getPixels(pixels, 0, count, left, y, count, 1)
    }

    companion object {
        /** Decodes a photo, upright by its EXIF data, as sRGB. Throws IOException for what is no image. */
        fun decode(resolver: ContentResolver, uri: Uri): BitmapPhoto {
            val source = ImageDecoder.createSource(resolver, uri)
            val decoded = ImageDecoder.decodeBitmap(source) { decoder, _, _ ->
                decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
                decoder.isMutableRequired = true
                decoder.setTargetColorSpace(ColorSpace.get(ColorSpace.Named.SRGB))
            }
            if (decoded.config == Bitmap.Config.ARGB_8888) return BitmapPhoto(decoded)
            val converted: Bitmap? = decoded.copy(Bitmap.Config.ARGB_8888, true)
            return BitmapPhoto(converted ?: throw IOException("it has more than 8 bits per channel"))
        }
    }
}
